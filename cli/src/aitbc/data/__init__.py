"""Files that ship with the package: contract artifacts and deployments."""
