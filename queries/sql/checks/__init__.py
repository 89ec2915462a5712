"""What must hold of a store's rows, one file each: a statement that counts the rows which break it."""
