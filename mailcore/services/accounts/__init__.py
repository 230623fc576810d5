"""Who somebody is: users, their credentials and sign-ins, tokens, and what of them is limited."""
