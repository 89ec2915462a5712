"""The views of the tables that have derived columns, one file each: `create view`, made of what the files hold."""
