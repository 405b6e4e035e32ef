"""A check as it is usually written: a new keystoneauth1 session, and so a new token, each time.

Run by the benchmark: session.py URL, the credentials in the environment as OS_* variables.
"""

import os
import sys

from keystoneauth1.identity import v3
from keystoneauth1.session import Session

user = v3.Password(
    os.environ["OS_AUTH_URL"],
    username=os.environ["OS_USERNAME"],
    password=os.environ["OS_PASSWORD"],
    project_name=os.environ["OS_PROJECT_NAME"],
    user_domain_name=os.environ["OS_USER_DOMAIN_NAME"],
    project_domain_name=os.environ["OS_PROJECT_DOMAIN_NAME"],
)
answer = Session(auth=user).get(sys.argv[1], raise_exc=False, timeout=10)
sys.exit(answer.status_code != 200)
