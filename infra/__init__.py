"""What runs Eider: the development stack and, for production, the deployment files."""
