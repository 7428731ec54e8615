package integration

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tools are scripts that use unmodified programs. work runs in a fresh mount;
// again runs in a mount of what work left, from the archive alone. $1 is a
// directory outside of the mount, empty at first.
var tools = []struct{ name, work, again string }{
	{
		name: "git",
		work: gitIdentity + `
			git init -q repo
			cd repo
			mkdir -p a/b
			echo one >a/one
			echo two >a/b/two
			ln -s a/one link
			chmod +x a/one
			seq 20000 >big
			git add -A
			git commit -qm first
			for i in 1 2 3 4 5; do echo $i >>a/one; git commit -qam "change $i"; done
			git branch side HEAD~2
			git worktree add -q ../tree side
			echo stashed >>a/b/two
			git stash -q
			git stash pop -q
			git checkout -q a/b/two
			git gc -q
			git fsck --no-progress --strict
			cd ..
			git clone -q repo clone
			git clone -q "file://$WORKDIR/repo" copy
			test -z "$(git -C repo status --porcelain)"`,
		again: gitIdentity + `
			for r in repo clone copy tree; do
				test -z "$(git -C $r status --porcelain)"
				git -C $r fsck --no-progress --strict
			done
			test "$(git -C repo rev-list --count HEAD)" = 6
			cd clone
			echo more >>a/one
			git commit -qam more
			git push -q origin HEAD:pushed
			git -C ../repo log -1 --format=%s pushed | grep -qx more
			cd ../repo
			git merge -q pushed
			git gc -q --prune=now
			git fsck --no-progress
			test -z "$(git status --porcelain)"`,
	},
	{
		name: "SQLite",
		work: `
			for mode in wal delete truncate; do
				sqlite3 $mode.db "pragma journal_mode=$mode; create table t(n integer primary key, s text)" >"$1/out"
				for i in 1 2 3 4 5 6 7 8; do sqlite3 $mode.db "insert into t(s) values(hex(randomblob(500)))"; done
				sqlite3 $mode.db "begin; with recursive c(n) as (select 1 union all select n+1 from c where n<5000)
					insert into t(s) select hex(randomblob(50)) from c; rollback;
					with recursive c(n) as (select 1 union all select n+1 from c where n<5000)
					insert into t(s) select hex(randomblob(50)) from c"
				test "$(sqlite3 $mode.db 'pragma integrity_check')" = ok
				test "$(sqlite3 $mode.db 'select count(*) from t')" = 5008
			done`,
		again: `
			for mode in wal delete truncate; do
				test "$(sqlite3 $mode.db 'pragma integrity_check')" = ok
				test "$(sqlite3 $mode.db 'select count(*) from t')" = 5008
				sqlite3 $mode.db "delete from t where n % 2 = 0; vacuum"
				test "$(sqlite3 $mode.db 'pragma integrity_check')" = ok
				test "$(sqlite3 $mode.db 'select count(*) from t')" = 2504
			done`,
	},
	{
		// A transaction that was cut off is rolled back from its journal, which the
		// archive has to hold.
		name: "SQLite, killed in a transaction",
		work: `
			sqlite3 killed.db "create table t(s); insert into t select hex(zeroblob(1000)) from (values(1),(2),(3))"
			mkfifo "$1/in" "$1/out"
			sqlite3 killed.db <"$1/in" >"$1/out" &
			exec 3>"$1/in" 4<"$1/out"
			echo "pragma cache_size=1; pragma cache_spill=1; begin; update t set s='lost';
				with recursive c(n) as (select 1 union all select n+1 from c where n<3000)
				insert into t select hex(randomblob(500)) from c; select 'half';" >&3
			while read -r line <&4; do test "$line" = half && break; done
			kill -9 $! ; wait $! || true
			test -s killed.db-journal`,
		again: `
			test -s killed.db-journal
			test "$(sqlite3 killed.db 'pragma integrity_check')" = ok
			test "$(sqlite3 killed.db "select count(*) from t where s <> 'lost'")" = 3`,
	},
	{
		name: "go build",
		work: `
			mkdir -p hello/words
			cd hello
			export GOFLAGS=-mod=mod GOTOOLCHAIN=local
			printf 'module hello\n\ngo 1.21\n' >go.mod
			printf 'package words\n\nfunc Hello() string { return "hello" }\n' >words/words.go
			printf 'package main\n\nimport "hello/words"\n\nfunc main() { print(words.Hello()) }\n' >main.go
			printf 'package words\n\nimport "testing"\n\nfunc Test(t *testing.T) { if Hello() != "hello" { t.Fail() } }\n' >words/words_test.go
			go build -o hello .
			test "$(./hello 2>&1)" = hello
			TMPDIR=$WORKDIR go test -count=1 ./...`,
		again: `
			cd hello
			export GOFLAGS=-mod=mod GOTOOLCHAIN=local
			test "$(./hello 2>&1)" = hello
			sed -i 's/"hello" }/"goodbye" }/' words/words.go
			go build -o hello .
			test "$(./hello 2>&1)" = goodbye`,
	},
	{
		name: "tar, rsync and cp",
		work: archiveTree + `
			tree tree
			cp -a tree cp
			diff -r tree cp
			mkdir tar
			tar -cf - tree | tar -xpf - -C tar
			diff -r tree tar/tree
			rsync -aHX tree/ rsync
			test -z "$(rsync -aHXni --checksum tree/ rsync)"
			cp -a tree "$1/outside"
			diff -r tree "$1/outside"`,
		again: `
			for copy in cp tar/tree rsync; do diff -r tree $copy; done
			test -z "$(rsync -aHXni --checksum --delete tree/ rsync)"
			test -z "$(rsync -aHni --checksum --delete "$1/outside/" tree)"
			cp -a --reflink=auto tree again
			test -z "$(rsync -aHni tree/ again)"
			rm -rf tree cp tar rsync
			mv again tree
			test -f tree/dir/file`,
	},
	{
		name: "make",
		work: `
			printf 'all: out\nout: in\n\tcp in out
			echo built >>log\n' >Makefile
			echo 1 >in
			make -s
			make -s
			test "$(wc -l <log)" = 1`,
		again: `
			make -s
			test "$(wc -l <log)" = 1 # times are kept, so there is nothing to do
			echo 2 >in
			make -s
			test "$(wc -l <log)" = 2`,
	},
	{
		name: "CMake",
		work: `
			mkdir src
			printf '%s\n' 'cmake_minimum_required(VERSION 3.13)' 'project(hello C)' 'add_executable(hello hello.c)' >src/CMakeLists.txt
			echo 'int main(void) { return 42; }' >src/hello.c
			cmake -S src -B build
			cmake --build build
			build/hello && exit 1 || test $? = 42`,
		again: `
			cmake -S src -B build # refuses a build directory that was made for another path
			cmake --build build >"$1/out"
			! grep -q Building "$1/out" # what was built counts
			sed -i s/42/43/ src/hello.c
			cmake --build build
			build/hello && exit 1 || test $? = 43`,
	},
	{
		name: "Python venv",
		work: `
			unset PYTHONDONTWRITEBYTECODE
			/usr/bin/python3 -m venv venv
			venv/bin/pip --version
			venv/bin/python -c 'import json, sys; assert sys.prefix != sys.base_prefix'
			printf 'def f():\n    return 42\n' >module.py
			venv/bin/python -c 'import module; assert module.f() == 42'
			test -d __pycache__`,
		again: `
			venv/bin/pip --version # a script whose first line is the interpreter's path
			venv/bin/python -c 'import sys, module; assert sys.prefix != sys.base_prefix and module.f() == 42'`,
	},
	{
		name: "mmap",
		work: pythonMmap + `
			write "shared"; check "shared"`,
		again: pythonMmap + `
			check "shared"; write "changed"; check "changed"`,
	},
}

const gitIdentity = `
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org`

const archiveTree = `
	tree() {
		mkdir -p "$1/dir/sub" "$1/empty"
		echo content >"$1/dir/file"
		ln "$1/dir/file" "$1/dir/sub/hard"
		ln -s ../dir/file "$1/empty/link"
		truncate -s 1M "$1/sparse"
		echo end >>"$1/sparse"
		chmod 2750 "$1/dir"
		chmod 4711 "$1/dir/file"
		touch -d '2001-02-03 04:05:06.789' "$1/dir/sub/hard" "$1/empty"
		setfattr -n user.note -v kept "$1/dir/file"
		setfattr -n user.note -v dir "$1/dir"
	}`

// pythonMmap writes through a shared mapping and checks by read, and the other
// way round.
const pythonMmap = `
	write() { python3 -c '
import mmap, sys
text = sys.argv[1].encode()
with open("mapped", "a+b") as f:
    f.truncate(1 << 20)
    with mmap.mmap(f.fileno(), 1 << 20) as m:
        for off in range(0, 1 << 20, 5000):
            m[off:off+len(text)] = text
        m.flush()
        f.seek(5000); assert f.read(len(text)) == text
        f.seek(0, 2); f.write(b"appended"); f.flush()
        f.seek(0); assert f.read(len(text)) == m[:len(text)]
' "$1"; }
	check() { python3 -c '
import mmap, sys
text = sys.argv[1].encode()
with open("mapped", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    assert len(m) == (1 << 20) + 8 and m[1 << 20:] == b"appended"
    for off in range(0, 1 << 20, 5000):
        assert m[off:off+len(text)] == text, off
' "$1"; }`

// Unmodified tools work in a mount, and find their work in the next one, at the same
// path: git worktrees, a venv and CMake's build directories note where they are.
func TestTools(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			e := newEnv(t)
			outside := e.mkdir("outside")
			for _, script := range []string{tool.work, tool.again, `rm -rf ./*; test -z "$(ls)"`} {
				t.Log(mustRun(t, e.command("exec", e.url("tool"), "--", "sh", "-euc", script, "sh", outside)))
			}
		})
	}
}

// A lock is one among all processes that use a mount: flock(2), and the locks of
// fcntl(2), of a process and of an open file.
func TestToolsLocks(t *testing.T) {
	e := newEnv(t)
	e.work(e.url("locks"), func(dir string) {
		for _, kind := range lockKinds {
			t.Run(kind.name, func(t *testing.T) {
				locksExclude(t, e, filepath.Join(dir, kind.name), kind.name)
			})
		}
	})
}

// lockKinds are the ways to ask for an exclusive lock without waiting.
var lockKinds = []struct {
	name string
	try  func(f *os.File) error
}{
	{"flock", func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }},
	{"fcntl", func(f *os.File) error { return tryFcntl(f, unix.F_SETLK) }},
	{"ofd", func(f *os.File) error { return tryFcntl(f, unix.F_OFD_SETLK) }},
}

func tryFcntl(f *os.File, cmd int) error {
	return unix.FcntlFlock(f.Fd(), cmd, &unix.Flock_t{Type: unix.F_WRLCK})
}

func tryLock(path, kind string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for _, k := range lockKinds {
		if k.name == kind {
			err = k.try(f)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// locksExclude has another process take a lock, finds it taken, kills the process
// and finds it free.
func locksExclude(t *testing.T, e *env, path, kind string) {
	holder := e.role("hold-lock", lockVariable+"="+kind+" "+path)
	holder.Stderr = os.Stderr
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := holder.StdinPipe() // it ends when this is closed
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	if f, err := tryLock(path, kind); err == nil {
		f.Close()
		t.Error("two processes have the same exclusive lock")
	} else if err != syscall.EAGAIN {
		t.Errorf("the lock of another process returns %v, want EAGAIN", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	f, err := tryLock(path, kind)
	if err != nil {
		t.Fatalf("the lock of a process that ended: %v", err)
	}
	f.Close()
}

const lockVariable = "WORKDIR_INTEGRATION_LOCK"

func init() { roles["hold-lock"] = holdLock }

// holdLock takes a lock, says so, and keeps it until its input ends.
func holdLock() int {
	kind, path, _ := strings.Cut(os.Getenv(lockVariable), " ")
	f, err := tryLock(path, kind)
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	defer f.Close()
	os.Stdout.WriteString("locked\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that counts
	return 0
}
