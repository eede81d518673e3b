"""Models and prices: what each model costs an organization, and the forms to set it."""
