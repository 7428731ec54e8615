package integration

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

// apps are scripts of programs that are hard on a file system. work runs in an
// empty directory, again in what it left after a commit and a remount.
var apps = []struct {
	name, work, again string
	rooted            bool // its tools may be installed for root alone
}{
	{
		name: "make of a C project",
		work: `
			for i in $(seq 40); do echo "int f$i(int n) { return n + $i; }" >f$i.c; done
			{
				for i in $(seq 40); do echo "int f$i(int);"; done
				echo 'int main(void) { int n = 0;'
				for i in $(seq 40); do echo "n = f$i(n);"; done
				echo 'return n != 820; }'
			} >main.c
			printf 'prog: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\t$(CC) -o $@ $^\n' >Makefile
			make -s -j 4
			./prog`,
		again: `
			./prog
			make -q
			touch f7.c
			test "$(make -s -n | wc -l)" = 2
			make -s -j 4 && ./prog`,
	},
	{
		name:   "npm install",
		rooted: true,
		work: `
			npm init -y >/dev/null
			npm install --silent --no-audit --no-fund --no-update-notifier express@4.21.2
			node -e 'if (typeof require("express")() != "function") process.exit(1)'`,
		again: `
			node -e 'if (typeof require("express")() != "function") process.exit(1)'
			npm ls --silent >/dev/null
			npm install --silent --no-audit --no-fund --no-update-notifier --prefer-offline
			npm uninstall --silent --no-audit --no-fund --no-update-notifier express
			test -z "$(ls node_modules)"`,
	},
	{
		name:   "cargo build",
		rooted: true,
		work: `
			cargo init --quiet --vcs none --name app .
			printf 'itoa = "1"\n' >>Cargo.toml
			echo 'fn main() { print!("{}", itoa::Buffer::new().format(42)) }' >src/main.rs
			cargo build --quiet
			test "$(target/debug/app)" = 42`,
		again: `
			test "$(target/debug/app)" = 42
			cargo build 2>&1 | grep -q Compiling && exit 1
			sed -i 's/42/43/' src/main.rs
			cargo build --quiet
			test "$(target/debug/app)" = 43`,
	},
	{
		name: "editors",
		work: pythonSave + `
			echo one >file; chmod 640 file; ln -s file link
			save file two; save file three
			test "$(cat file file~)" = "$(printf 'three\ntwo')"
			test "$(stat -c %a file)" = 640 && test "$(cat link)" = three`,
		again: pythonSave + `
			save file four
			test "$(cat file file~ link)" = "$(printf 'four\nthree\nfour')"`,
	},
	{
		name:  "inotify",
		work:  pythonNotify,
		again: "rm -r dir; " + pythonNotify,
	},
	{
		name:  "counters in shared memory",
		work:  pythonCounters,
		again: "rm counters; " + pythonCounters,
	},
	{
		name: "rsync",
		work: archiveTree + `
			tree tree
			rsync -aHAX --checksum tree/ copy
			test -z "$(rsync -aHAXni --checksum --delete tree/ copy)"`,
		again: `
			test -z "$(rsync -aHAXni --checksum --delete tree/ copy)"
			echo more >>copy/dir/file
			rsync -aHAX --checksum --delete --inplace tree/ copy
			test -z "$(rsync -aHAXni --checksum --delete tree/ copy)"`,
	},
}

// pythonSave is how vim writes a file: the old one becomes the backup, the new one
// is made with its mode and synced, and the directory too.
const pythonSave = `
	save() { python3 -c '
import os, sys
name, text = sys.argv[1:]
mode = os.stat(name).st_mode & 0o7777
os.rename(name, name + "~")
fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, text.encode() + b"\n"); os.fchmod(fd, mode); os.fsync(fd); os.close(fd)
d = os.open(".", os.O_RDONLY | os.O_DIRECTORY); os.fsync(d); os.close(d)
' "$1" "$2"; }
`

// pythonNotify watches a directory by inotify(7) and compares what it is told.
const pythonNotify = `
	python3 -c '
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("dir")
fd = libc.inotify_init()
MODIFY, CLOSE_WRITE, FROM, TO, CREATE, DELETE = 2, 8, 0x40, 0x80, 0x100, 0x200
assert libc.inotify_add_watch(fd, b"dir", MODIFY | CLOSE_WRITE | FROM | TO | CREATE | DELETE) > 0
f = os.open("dir/a", os.O_WRONLY | os.O_CREAT); os.write(f, b"x"); os.close(f)
os.rename("dir/a", "dir/b"); os.unlink("dir/b")
events, buf = [], os.read(fd, 4096)
while buf:
    _, mask, _, length = struct.unpack("iIII", buf[:16])
    events.append((mask, buf[16:16 + length].rstrip(b"\0").decode())); buf = buf[16 + length:]
want = [(CREATE, "a"), (MODIFY, "a"), (CLOSE_WRITE, "a"), (FROM, "a"), (TO, "b"), (DELETE, "b")]
assert events == want, events
'`

// pythonCounters has eight processes count in one page that they share.
const pythonCounters = `
	python3 -c '
import mmap, os, struct
with open("counters", "wb") as f: f.truncate(4096)
for p in range(8):
    if os.fork() == 0:
        with open("counters", "r+b") as f, mmap.mmap(f.fileno(), 4096) as m:
            for i in range(10000): m[8*p:8*p+8] = struct.pack("q", i + 1)
        os._exit(0)
assert all(os.wait()[1] == 0 for _ in range(8))
with open("counters", "rb") as f: assert struct.unpack("8q", f.read(64)) == (10000,) * 8
'`

// TestApps holds a mount of each kind against tmpfs, where the same scripts pass.
func TestApps(t *testing.T) {
	for _, app := range apps {
		t.Run(app.name+"/tmpfs", func(t *testing.T) {
			e := newEnv(t)
			dir := memoryDir(t)
			for _, script := range []string{app.work, app.again} {
				cmd := e.program("sh", "-euc", script)
				cmd.Dir = dir
				mustRun(t, cmd)
			}
		})
		for _, p := range servings {
			if app.rooted && p.unprivileged {
				continue
			}
			t.Run(app.name+"/"+p.name, func(t *testing.T) {
				e := p.env(t)
				for _, script := range []string{app.work, app.again} {
					mustRun(t, p.exec(e, nil, e.url("app"), script))
				}
			})
		}
	}
}

// PostgreSQL, which refuses to run as root and minds whose its files are, survives
// an immediate stop, a commit and a remount.
func TestPostgreSQL(t *testing.T) {
	needRoot(t)
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: apt-get install postgresql")
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	const server = `
		PATH=$1:$PATH; export PGHOST=$WORKDIR/sockets PGDATA=$WORKDIR/data
		as() { setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"; }
		uid=$2 gid=$3
		start() { as pg_ctl -s -w -l "$WORKDIR/data/log" -o "-c listen_addresses= -k $WORKDIR/sockets" start || { cat "$WORKDIR/data/log" >&2; exit 1; }; }
		stop() { as pg_ctl -s -w -m "$1" stop; }
		check() {
			as pg_amcheck -U postgres --heapallindexed --install-missing postgres
			as psql -U postgres -Atc "select sum(abalance) = (select sum(bbalance) from pgbench_branches) from pgbench_accounts" postgres | grep -qx t
		}
	`
	const work = server + `
		mkdir data sockets; chown "$uid:$gid" data sockets; chmod 700 data
		as initdb -A trust -U postgres >data.log
		start
		as pgbench -q -i -s 1 -U postgres postgres 2>>data.log
		as pgbench -n -c 4 -t 200 -U postgres postgres >>data.log
		stop immediate
		start
		check
		stop "$4"`
	const again = server + `
		rm -f sockets/.s* data/postmaster.pid
		start
		check
		as pgbench -n -c 4 -t 100 -U postgres postgres >>data.log
		stop immediate
		start
		check
		stop fast`
	for _, end := range []string{"fast", "immediate"} {
		t.Run(end, func(t *testing.T) {
			e := newEnv(t)
			if err := os.Chmod(e.root, 0o755); err != nil {
				t.Fatal(err)
			}
			dir := e.mkdir("m")
			for _, script := range []string{work, again} {
				mustRun(t, e.command("exec", "--allow-other", "--owner", "keep", "--dir", dir, e.url("pg"), "--",
					"sh", "-euc", script, "sh", filepath.Dir(found[0]), owner.Uid, owner.Gid, end))
			}
		})
	}
}
