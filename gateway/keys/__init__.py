"""The console's pages of API keys, with what each costs."""
