"""Look-alikes of an agent's daemons and peers: API, worker, Keystone, RabbitMQ. See README.md."""
