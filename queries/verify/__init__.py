"""What a store claims, checked: its files, its rows, and its path tables counted again from its edges."""
