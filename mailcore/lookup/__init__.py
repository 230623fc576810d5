"""Who receives mail, told to transfer agents in front of us before they take any (Postfix's socketmap_table(5))."""
