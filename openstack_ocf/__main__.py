"""`python3 -m openstack_ocf VERB`, from a checkout."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
