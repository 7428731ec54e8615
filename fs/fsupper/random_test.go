package fsupper

import (
	"errors"
	"flag"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	seeds = flag.Int("seeds", 4, "how many random runs TestRandom makes")
	first = flag.Uint64("seed", 1, "the first of them")
	trace = flag.Bool("steps", false, "print what they do")
)

// TestRandom does random things in overlays, one commit after the other, and compares after
// each what the overlay shows with what the tree and its archive hold.
func TestRandom(t *testing.T) {
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			packed := pack(t, small)
			for range 3 {
				o := newOverlay(t, packed)
				d := &doer{o: o, r: r}
				for range 20 + r.IntN(100) {
					d.step()
				}
				want := shown(t, o.dir)
				changes := o.apply()
				wantSame(t, "the tree", held(t, o.tree), want)
				o.checkStates(changes)
				packed = o.checkCommit()
			}
		})
	}
}

// small is a base with few names, so that operations often meet.
func small(m maker) {
	dirs := []string{"a", "b", "a/a", "a/b", "b/a", "a/a/a", "b/a/b"}
	for i, dir := range dirs {
		m.dir(dir)
		m.file(dir+"/f", strings.Repeat(dir, 1+100*i))
		m.file(dir+"/g", noise(byte(i), i*1000))
	}
	m.file("f", noise(1, 2*mib+1234))
	m.file("a/big", noise(2, 3*mib))
	m.file("c", "three names")
	m.link("a/c", "c")
	m.link("b/a/c", "c")
	m.symlink("l", "f")
	m.file("b/sparse", "")
	_, errno := m.t.WriteAt(m.at("b/sparse"), []byte("end"), 5*mib, false)
	m.ok(errno)
	m.ok(m.t.SetXattr(m.at("a/f"), "user.a", []byte("1"), 0))
	m.ok(m.t.SetXattr(m.at("a/a"), "user.a", []byte("1"), 0))
}

// doer does random things in an overlay. A failed operation is as good as any.
type doer struct {
	o   *overlay
	r   *rand.Rand
	all []string // existing paths
}

func (d *doer) look() {
	d.all = d.all[:0]
	must(d.o.tb, filepath.WalkDir(d.o.dir, func(p string, _ iofs.DirEntry, err error) error {
		d.all = append(d.all, p)
		return err
	}))
}

// any returns an existing path, or one of a few new names in an existing directory.
func (d *doer) any() string { return d.all[d.r.IntN(len(d.all))] }

func (d *doer) place() string {
	dir := d.any()
	if st, err := os.Lstat(dir); err == nil && !st.IsDir() {
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, []string{"a", "b", "c", "f", "g", "n1", "n2"}[d.r.IntN(7)])
}

func (d *doer) file() (p string) {
	for range 20 {
		p = d.any()
		if st, err := os.Lstat(p); err == nil && st.Mode().IsRegular() {
			break
		}
	}
	return p
}

func (d *doer) size() int64 {
	switch d.r.IntN(4) {
	case 0:
		return d.r.Int64N(4 * mib)
	case 1:
		return d.r.Int64N(5) * mib
	}
	return d.r.Int64N(5000)
}

func (d *doer) write(p string, flags int) error {
	f, err := os.OpenFile(p, os.O_WRONLY|flags|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	text := noise(byte(d.r.IntN(256)), d.r.IntN(3000))
	if flags&os.O_APPEND != 0 {
		_, err = f.WriteString(text)
	} else {
		_, err = f.WriteAt([]byte(text), d.size())
	}
	return err
}

func (d *doer) step() {
	d.look()
	what, err := d.one()
	if *trace {
		fmt.Println(strings.ReplaceAll(what, d.o.dir, ""), err)
	}
}

func (d *doer) one() (string, error) {
	switch op := d.r.IntN(30); op {
	case 0, 1:
		p := d.place()
		return "mkdir " + p, os.Mkdir(p, 0o755)
	case 2, 3:
		p := d.place()
		return "create " + p, d.write(p, os.O_CREATE)
	case 4, 5:
		p := d.file()
		return "append " + p, d.write(p, os.O_APPEND)
	case 6, 7:
		p := d.file()
		return "write " + p, d.write(p, 0)
	case 8:
		p := d.file()
		return "trunc " + p, d.write(p, os.O_TRUNC)
	case 9:
		p, size := d.file(), d.size()
		return fmt.Sprintf("truncate %s %d", p, size), os.Truncate(p, size)
	case 10, 11, 12, 13:
		from, to := d.any(), d.place()
		return "rename " + from + " " + to, unix.Rename(from, to)
	case 14, 15:
		from, to := d.any(), d.any()
		return "exchange " + from + " " + to, unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	case 16, 17:
		from, to := d.file(), d.place()
		return "link " + from + " " + to, os.Link(from, to)
	case 18, 19:
		p := d.file()
		return "remove " + p, os.Remove(p)
	case 20:
		p := d.any()
		if p == d.o.dir {
			return "spared", nil
		}
		return "remove all " + p, os.RemoveAll(p)
	case 21:
		p := d.any()
		return "rmdir " + p, unix.Rmdir(p)
	case 22:
		p := d.place()
		return "symlink " + p, os.Symlink("somewhere", p)
	case 23:
		p := d.place()
		return "fifo " + p, unix.Mkfifo(p, 0o600)
	}
	return d.attribute()
}

func (d *doer) attribute() (string, error) {
	p := d.any()
	switch d.r.IntN(6) {
	case 0:
		return "chmod " + p, unix.Fchmodat(unix.AT_FDCWD, p, uint32(0o400+d.r.IntN(0o400)), 0)
	case 1:
		st, err := os.Stat(p)
		if err != nil {
			return "chmod same " + p, err
		}
		return "chmod same " + p, os.Chmod(p, st.Mode())
	case 2:
		return "chown " + p, os.Lchown(p, d.r.IntN(3), d.r.IntN(3))
	case 3:
		at := unix.Timespec{Sec: d.r.Int64N(1 << 31), Nsec: d.r.Int64N(1e9)}
		return "utimes " + p, unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	case 4:
		name := fmt.Sprintf("user.%c", 'a'+d.r.IntN(3))
		return "setxattr " + p, unix.Lsetxattr(p, name, []byte(noise(1, d.r.IntN(100))), 0)
	}
	f, err := os.OpenFile(p, os.O_RDWR|unix.O_NONBLOCK, 0)
	return "open " + p, errors.Join(err, f.Close())
}
