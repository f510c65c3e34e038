"""What `import zigpt` offers; the names are those of `zigpt.__all__`."""
