#!/bin/sh
# A check as a shell agent makes it: curl fetches a token, the usual filters find it, and a second
# curl uses it. No secret is in an argument. Run by the benchmark: curl.sh URL, the credentials in
# the environment as OS_* variables.

token=$(
    curl --silent --fail --include --header 'Content-Type: application/json' --data @- \
        "$OS_AUTH_URL/auth/tokens" <<EOT | grep -i '^x-subject-token:' | tr -d '\r' | awk '{ print $2 }'
{"auth": {
  "identity": {"methods": ["password"], "password": {"user": {
    "name": "$OS_USERNAME", "password": "$OS_PASSWORD", "domain": {"name": "$OS_USER_DOMAIN_NAME"}}}},
  "scope": {"project": {"name": "$OS_PROJECT_NAME", "domain": {"name": "$OS_PROJECT_DOMAIN_NAME"}}}}}
EOT
)
[ -n "$token" ] || exit 1

status=$(
    curl --silent --output /dev/null --write-out '%{http_code}' ${2:+--header "$2"} \
        --header @- "$1" <<EOT
X-Auth-Token: $token
EOT
)
[ "$status" = 200 ]
