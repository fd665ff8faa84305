"""What training does to crops: random changes, and fakes made from real faces."""
