# Starts a PostgreSQL and a MariaDB of the tests' own (sourced by check, after provide.sh).
#
# They keep their files in a folder below /tmp, answer on this machine only, and end with the shell
# that sourced this and the programs it started, however they end. Tests find them by LIENTHONG_POSTGRESQL and LIENTHONG_MARIADB,
# and make a database each. A server that is killed is started again, as the service manager of an agency would.

provide_databases() {
    # Debian keeps servers where only root looks for programs.
    export PATH="$PATH:/usr/sbin"
    local missing
    missing=$(missing_databases)
    [ -n "$missing" ] || return 0
    found apt-get || refuse "Missing: $missing- and there is no apt-get here. Please install them."
    # Also for root, since Debian would start a PostgreSQL as a service of this machine.
    say "These packages are unpacked below .private: $missing"
    unpack_privately $missing || refuse "Could not download and unpack: $missing"
    extend_paths
    missing=$(missing_databases)
    [ -z "$missing" ] || refuse "Still missing after all that: $missing- please install them."
}

missing_databases() {
    [ -n "$(postgresql_programs)" ] || printf 'postgresql '
    found mariadbd && found mariadb-install-db || printf 'mariadb-server-core '
    found mariadb && found my_print_defaults || printf 'mariadb-client-core '
    found sqlite3 || printf 'sqlite3 '
}

# Debian keeps the programs of each version in a folder of their own.
postgresql_programs() {
    local program
    for program in {,"$unpacked"}/usr/lib/postgresql/*/bin/postgres; do
        [ ! -x "$program" ] || { dirname "$program"; return; }
    done
}

# Neither server runs as root, and who runs them cannot look into the folders of root.
make_programs_reachable() {
    [ "$(id -u)" = 0 ] && [ -d "$unpacked" ] && ! "${servant[@]}" test -x "$unpacked/usr/bin" ||
        return 0
    cp -a "$unpacked" "$databases/programs"
    export PATH="${PATH//$unpacked/$databases/programs}"
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH//$unpacked/$databases/programs}"
    unpacked=$databases/programs
}

# Who runs the servers: never root.
servant=()
[ "$(id -u)" != 0 ] || servant=(setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs --)

start_databases() {
    databases=$(mktemp -d "${TMPDIR:-/tmp}/lienthong-databases.XXXXXX")
    chmod 711 "$databases"
    touch "$databases/running"
    # What stands at the other end notices when this shell is gone.
    exec {leash}> >(trap '' INT TERM HUP; cat > /dev/null; end_databases)
    say 'Starting a PostgreSQL and a MariaDB for the tests'
    make_programs_reachable
    make_certificates > "$databases/tls.log" 2>&1 || { cat "$databases/tls.log" >&2; refuse 'openssl makes no certificates'; }
    local name
    for name in postgresql mariadb; do
        mkdir -m 700 "$databases/$name"
        [ "$(id -u)" != 0 ] || chown nobody:nogroup "$databases/$name"
        start_"$name" > "$databases/$name.log" 2>&1 ||
            { cat "$databases/$name.log" >&2; refuse "The tests' own $name does not start; see above."; }
    done
    export LIENTHONG_DATABASES=$databases
    export LIENTHONG_POSTGRESQL=$databases/postgresql LIENTHONG_MARIADB=$databases/mariadb/socket
    export LIENTHONG_DATABASES_CA=$databases/tls/ca.pem
}

# For the loopback ports, which both have for the tests of TLS: one authority, one server's certificate.
make_certificates() {
    local tls=$databases/tls
    mkdir -m 755 "$tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
        -keyout "$tls/ca.key" -out "$tls/ca.pem"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
        -keyout "$tls/server.key" -out "$tls/server.csr"
    openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -days 2 -out "$tls/server.pem" \
        -extfile <(printf 'subjectAltName = DNS:localhost')
    [ "$(id -u)" != 0 ] || chown nobody:nogroup "$tls/server.key"
    chmod 600 "$tls/server.key"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_postgresql() {
    local programs folder=$databases/postgresql
    programs=$(postgresql_programs)
    # Its client, for whoever asks the database itself.
    export PATH="$PATH:$programs"
    "${servant[@]}" "$programs/initdb" --pgdata="$folder/data" --username=postgres --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync
    export LIENTHONG_POSTGRESQL_PORT
    LIENTHONG_POSTGRESQL_PORT=$(free_port)
    # Its files are gone after the tests: what is committed has to survive a kill, and no power cut.
    serve postgresql "$programs/postgres" -D "$folder/data" -k "$folder" -c listen_addresses=127.0.0.1 \
        -p "$LIENTHONG_POSTGRESQL_PORT" -c ssl=on -c ssl_cert_file="$databases/tls/server.pem" \
        -c ssl_key_file="$databases/tls/server.key" -c fsync=off -c max_connections=300
    wait_for postgresql "${servant[@]}" "$programs/pg_isready" --quiet --host="$folder" --port="$LIENTHONG_POSTGRESQL_PORT"
}

start_mariadb() {
    local folder=$databases/mariadb base
    base=$(dirname "$(dirname "$(command -v mariadb-install-db)")")
    local common=(--no-defaults --basedir="$base" --datadir="$folder/data")
    mkdir "$folder/data"
    [ "$(id -u)" != 0 ] || chown nobody:nogroup "$folder/data"
    "${servant[@]}" mariadb-install-db "${common[@]}" --auth-root-authentication-method=normal --skip-test-db
    export LIENTHONG_MARIADB_PORT
    LIENTHONG_MARIADB_PORT=$(free_port)
    serve mariadb mariadbd "${common[@]}" --socket="$folder/socket" --pid-file="$folder/own.pid" \
        --bind-address=127.0.0.1 --port="$LIENTHONG_MARIADB_PORT" --ssl-cert="$databases/tls/server.pem" \
        --ssl-key="$databases/tls/server.key" --innodb-flush-log-at-trx-commit=2 --max-connections=300
    wait_for mariadb "${servant[@]}" mariadb --no-defaults --socket="$folder/socket" --user=root --execute='DO 1'
}

# Beyond the reach of a Ctrl-C in the terminal, and without the leash.
serve() {
    local name=$1
    shift
    (
        trap '' INT TERM HUP
        while [ -e "$databases/running" ]; do
            "${servant[@]}" setsid "$@" &
            echo $! > "$databases/$name.pid"
            wait $! || { touch "$databases/$name.ended"; sleep 0.5; }
        done
    ) {leash}>&- &
}

wait_for() {
    local name=$1 deadline=$((SECONDS + 60))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] && [ ! -e "$databases/$name.ended" ] || return 1
        read -rt 0.1 <> <(:) || :
    done
}

end_databases() {
    local pid
    rm "$databases/running"
    for pid in $(cat "$databases"/*.pid); do kill -QUIT "$pid"; done
    rm -rf "$databases"
} 2> /dev/null

mkdir -p "$private"
( flock 9; provide_databases ) 9> "$private/lock"
extend_paths
export PATH="$PATH:/usr/sbin"
start_databases
