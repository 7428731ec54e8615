package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// serving is where a mount is made, which decides how its content is served.
type serving struct {
	name         string
	env          func(t *testing.T) *env
	wrap         []string // before the command
	unprivileged bool     // another user than root, here and outside
}

// servings are those that differ: the content of root, here and in a user namespace, is
// in a tmpfs, and an ordinary user's in an arena.
var servings = []serving{
	{name: "root", env: newEnv},
	{name: "user namespace", env: newEnv, wrap: []string{"unshare", "-Urm"}},
	{name: "ordinary user", env: func(t *testing.T) *env { return newEnv(t).as(someUser) }, unprivileged: true},
}

// exec prepares an exec in the place; flags are of exec, args $1, $2, … of the
// script.
func (p *serving) exec(e *env, flags []string, url, script string, args ...string) *exec.Cmd {
	argv := append([]string{"exec"}, flags...)
	argv = append(argv, url, "--", "sh", "-euc", "ulimit -c 0\n"+script, "sh")
	cmd := e.command(append(argv, args...)...)
	if len(p.wrap) == 0 {
		return cmd
	}
	return e.program(p.wrap[0], append(p.wrap[1:], cmd.Args...)...)
}

// outside makes a directory that everybody may write to.
func (e *env) outside() string {
	e.t.Helper()
	dir := e.mkdir("outside")
	if err := os.Chmod(dir, 0o777); err != nil {
		e.t.Fatal(err)
	}
	return dir
}

// helpers of the scripts, of which $1 is a directory outside.
const helpers = `
	err=$1/err
	listing() { find . -printf '%p %y %s %l\n' | sort; find . -type f -exec sha256sum {} + | sort; }
	free() { df -B1 --output=avail . | tail -n 1 | tr -d ' '; }
	full() { # COMMAND...: fails because there is no room
		if "$@" 2>"$err" >/dev/null; then echo "there was room for: $*" >&2; exit 1; fi
		grep -q 'No space left' "$err" || { cat "$err" >&2; exit 1; }
	}
`

// limitTests fill a mount of 16 MiB, of which $1 is outside.
var limitTests = []struct {
	name, script string
	lost         bool // a file is left that has lost what a tool was told to be written
}{
	{"write", `
		test "$(df -B1 --output=size . | tail -n 1 | tr -d ' ')" = 16777216
		test "$(free)" = 16777216
		full dd if=/dev/zero of=f bs=1M count=40 conv=fsync
		test "$(free)" = 0
		test "$(head -c 1000 f | tr -d '\0' | wc -c)" = 0
		rm f
		test "$(free)" = 16777216
		head -c 16000000 /dev/urandom >again`, false},
	{"write that goes on and on", `
		full sh -c 'yes >f'
		full sh -c 'yes >>f'
		: >f
		echo new >f`, false},
	{"write that ignores errors", `head -c 40000000 /dev/urandom >f || true`, true},
	{"direct write", `
		full dd if=/dev/zero of=f bs=1M count=40 oflag=direct
		test "$(stat -c %s f)" = 16777216
		echo over | dd of=f conv=notrunc,fsync bs=5 seek=1000 status=none # what is there can be written over`, false},
	{"allocate", `
		full fallocate -l 40M f
		fallocate -l 10M g
		truncate -s 1T sparse
		test "$(free)" = $((6 << 20))
		rm -f f g sparse
		fallocate -l 16M h`, false},
	{"untar", `
		mkdir "$1/tree"
		for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 2000000 /dev/urandom >"$1/tree/$i"; ln -s $i "$1/tree/l$i"; done
		tar -C "$1" -cf "$1/all.tar" tree
		tar -xf "$1/all.tar" 2>"$1/err" && exit 1
		grep -q 'No space left' "$1/err"
		rm -r tree
		tar -xf "$1/all.tar" tree/1 tree/2 tree/3
		cmp tree/3 "$1/tree/3"`, false},
	{"names while it is full", `
		full dd if=/dev/zero of=f bs=1M count=40 oflag=direct
		mv f g; ln g h; ln -s g l; mkdir d; mv h d/h; chmod 600 g; touch t; touch -d 2001-02-03 g
		cp t t2; mv t2 g # replaces a full one, of which d/h is the last name
		rm d/h
		test "$(free)" = 16777216
		head -c 16000000 /dev/urandom >again`, false},
}

func TestLimitBytes(t *testing.T) {
	for _, p := range servings {
		for _, tt := range limitTests {
			t.Run(p.name+"/"+tt.name, func(t *testing.T) {
				e := p.env(t)
				flags := []string{"--max-bytes", "16MiB", "--view", "fuse"} // an overlay tells what tmpfs does
				cmd := p.exec(e, flags, e.url("k"), helpers+tt.script+`
					listing >"$1/listing"`, e.outside())
				if tt.lost {
					e.refused(cmd, 106, "some of the work is lost", "no space left")
					return
				}
				mustRun(t, cmd)
				mustRun(t, p.exec(e, flags, e.url("k"), helpers+`listing | cmp - "$1/listing"`, e.path("outside")))
			})
		}
	}
}

// A store through a mapping for which there is no page is SIGBUS on tmpfs. Here there
// always is one, and what cannot be written back is told by msync(2).
func TestLimitMapped(t *testing.T) {
	const program = `
import mmap
with open("f", "w+b") as f:
    f.truncate(40 << 20)
    with mmap.mmap(f.fileno(), 40 << 20) as m:
        for i in range(0, 40 << 20, 4096): m[i] = 65
        m.flush()
`
	for _, p := range servings {
		t.Run(p.name, func(t *testing.T) {
			e := p.env(t)
			cmd := p.exec(e, []string{"--max-bytes", "16MiB", "--view", "fuse"}, e.url("k"), `
				code=0; python3 -c "$1" 2>"$2/err" || code=$?; echo $code; cat "$2/err"; rm f; echo left >g`, program, e.outside())
			if out := mustRun(t, cmd); !strings.Contains(out, "Errno 28") {
				t.Errorf("the tool got %q, want ENOSPC", out)
			}
			if got := e.mustExec(e.url("k"), "ls; cat g"); got != "g\nleft\n" {
				t.Errorf("content = %q", got)
			}
		})
	}
}

func TestLimitInodes(t *testing.T) {
	for _, p := range servings {
		t.Run(p.name, func(t *testing.T) {
			e := p.env(t)
			flags := []string{"--max-inodes", "50"}
			mustRun(t, p.exec(e, flags, e.url("k"), helpers+`
				seq -f f%g 49 | xargs touch
				full touch more; full mkdir more; full ln -s x more; full ln f1 more
				test "$(df --output=itotal,iavail . | tail -n 1 | tr -s ' ')" = " 50 0"
				mv f1 f2; ln f3 link; full ln f3 more
				rm f3; touch f3; rm f4; mkdir d`, e.outside()))
			mustRun(t, p.exec(e, flags, e.url("k"), `test $(ls | wc -l) = 49`))
			e.refused(p.exec(e, []string{"--max-inodes", "10"}, e.url("k"), "true"), 108, "--max-inodes")
		})
	}
}

// diskOf returns a small file system to spill to.
func (e *env) diskOf(options string) string {
	e.t.Helper()
	needRoot(e.t)
	dir := e.mkdir("spill")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		left, err := filepath.Glob(dir + "/.workdir*")
		if len(left) > 0 || err != nil {
			e.t.Errorf("left in the spill directory: %v, %v", left, err)
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			e.t.Error(err)
		}
	})
	return dir
}

// Beyond the memory content goes to the spill directory, and beyond that one tools
// get ENOSPC.
func TestSpillFillsUp(t *testing.T) {
	e := newEnv(t)
	flags := []string{"--max-bytes", "4MiB", "--spill", e.diskOf("size=26m"), "--spill-reserve", "2MiB"}
	p := servings[0]
	mustRun(t, p.exec(e, flags, e.url("k"), helpers+`
		test "$(df -B1 --output=size . | tail -n 1 | tr -d ' ')" = $((30 << 20))
		test "$(free)" -le $((28 << 20))
		for i in 1 2 3 4 5 6 7 8; do head -c 2500000 /dev/urandom >f$i; done
		test "$(free)" -lt 10000000
		full dd if=/dev/zero of=g bs=1M count=10 oflag=direct
		rm g f1
		head -c 2500000 /dev/urandom >h
		listing >"$1/listing"`, e.outside()))
	mustRun(t, p.exec(e, flags, e.url("k"), helpers+`listing | cmp - "$1/listing"`, e.path("outside")))
	e.refused(p.exec(e, flags, e.url("k"), `head -c 40000000 /dev/zero >f || true`), 106, "some of the work is lost", "no space left")
}

// The store is often on the disk that content spills to. Once that was full to the last
// byte, and what it was full of could not be stored.
func TestSpillLeavesTheStoreRoom(t *testing.T) {
	e := newEnv(t)
	disk := e.diskOf("size=40m")
	must(t, os.Mkdir(filepath.Join(disk, "store"), 0o755))
	url := "file://" + disk + "/store/k"
	mustRun(t, servings[0].exec(e, []string{"--max-bytes", "4MiB", "--spill", disk}, url,
		helpers+`full dd if=/dev/zero of=f bs=64k oflag=direct`, e.outside()))
	if got := e.mustExec(url, "ls"); got != "f\n" {
		t.Errorf("stored: %q", got)
	}
}

func TestSpillBecomesReadOnly(t *testing.T) {
	e := newEnv(t)
	flags := []string{"--max-bytes", "4MiB", "--spill", e.diskOf("size=16m")}
	p := servings[0]
	e.refused(p.exec(e, flags, e.url("k"), `
		echo small >f
		mount -o remount,ro "$1"
		dd if=/dev/zero of=g bs=1M count=10 conv=fsync 2>"$2/err" && exit 1
		cat f "$2/err" >&2`, e.path("spill"), e.outside()), 106, "some of the work is lost", "small", "fsync failed")
	e.refused(p.exec(e, flags, e.url("k"), "true"), 102, "spill", "read-only")
	if err := unix.Mount("", e.path("spill"), "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	mustRun(t, p.exec(e, flags, e.url("k"), "echo well >f")) // and what was left there is gone
}

// Status reports what a mount has and may have, also of a file that is written to
// right now.
func TestStatusShowsLimits(t *testing.T) {
	e := newEnv(t)
	dir := e.mkdir("mnt")
	mustRun(t, e.command("mount", "--max-bytes", "16MiB", "--max-inodes", "100", e.url("k"), dir))
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	var st mount.Status
	out := mustRun(t, e.command("--json", "status", dir))
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if st.Bytes != 3<<20 || st.Inodes != 2 || st.MaxBytes != 16<<20 || st.MaxInodes != 100 {
		t.Errorf("status = %d of %d bytes, %d of %d inodes; want %d of %d, 2 of 100",
			st.Bytes, st.MaxBytes, st.Inodes, st.MaxInodes, 3<<20, 16<<20)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mustRun(t, e.command("umount", "--discard", dir))
}

// All mounts of a server together stay within half of the memory that the control
// group allows.
func TestLimitOfTheServer(t *testing.T) {
	const budget = 64 << 20
	e := newEnv(t)
	cgroups := fmt.Sprintf(`
		mount -t tmpfs tmpfs /sys/fs/cgroup
		mkdir /sys/fs/cgroup/memory
		echo %d | tee /sys/fs/cgroup/memory.max >/sys/fs/cgroup/memory/memory.limit_in_bytes`, 2*budget)
	role := e.role("fill", fillVariable+"="+e.storeDir, runDirVariable+"="+e.runDir)
	role.Args[0] = os.Args[0] // /proc/self/exe is another program there
	cmd := e.inNamespace(cgroups, role)
	var sum int64
	for _, word := range strings.Fields(mustRun(t, cmd)) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum > budget || sum < budget/2 {
		t.Errorf("the mounts took %d bytes together, want no more than %d", sum, budget)
	}
}

const fillVariable = "WORKDIR_INTEGRATION_FILL"

func init() { roles["fill"] = fill }

// fill opens mounts of one server, with a limit of their own and without, fills
// each, and says how much it took.
func fill() int {
	var mounts []*mount.Mount
	err := func() error {
		for i, limit := range []int64{0, 24 << 20, 0, 0} {
			m, err := mount.Open(context.Background(), fmt.Sprintf("file://%s/k%d", os.Getenv(fillVariable), i),
				&mount.Options{MaxBytes: limit, RunDir: os.Getenv(runDirVariable)})
			if err != nil {
				return err
			}
			mounts = append(mounts, m)
		}
		for _, m := range mounts {
			fillOne(m.Path("f"))
			st, err := m.Status(context.Background())
			if err != nil {
				return err
			}
			fmt.Println(st.Bytes)
		}
		return nil
	}()
	for _, m := range mounts {
		if _, cerr := m.Close(context.Background()); err == nil {
			err = cerr
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fillOne writes a file until there is no room, or far too much was written.
func fillOne(name string) {
	f, err := os.Create(name)
	if err != nil {
		return
	}
	defer f.Close()
	part := make([]byte, 1<<20)
	for range 1 << 10 {
		if _, err := f.Write(part); err != nil {
			return
		}
	}
}
