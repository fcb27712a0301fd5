"""How `make site` adds pages outside of docs/ to the site."""
