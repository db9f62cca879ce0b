"""How each base becomes what `from_pretrained` reads: `convert(files, folder)`."""
