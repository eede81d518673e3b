"""What the console's pages share: form fields, sentences, redirects."""
