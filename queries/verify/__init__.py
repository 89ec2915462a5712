"""What must hold of a store, checked: its files, its rows, and its path tables counted again from its edges."""
