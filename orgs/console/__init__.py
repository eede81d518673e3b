"""What the pages and commands of every app share: exports, confirmations, actions of commands."""
