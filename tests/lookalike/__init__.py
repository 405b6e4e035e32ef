"""Look-alikes of what an agent meets: an API daemon and Keystone. See README.md."""
