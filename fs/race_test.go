package fs

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestManyAtOnce does everything from several goroutines, to few names, so that
// they meet; afterwards the tree keeps its rules.
func TestManyAtOnce(t *testing.T) {
	const workers, steps = 8, 1500
	eachTree(t, &Options{MaxBytes: 4 << 20, MaxInodes: 60}, func(t *testing.T, tree *Tree) {
		dirs := []*Inode{tree.Root(), mkdir(t, tree, tree.Root(), "d0"), mkdir(t, tree, tree.Root(), "d1")}
		raceIn(t, tree, dirs, workers, steps)
	})
}

// raceIn does everything from several goroutines in dirs, beginning with the root, and
// checks the tree's invariants.
func raceIn(t *testing.T, tree *Tree, dirs []*Inode, workers, steps int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := &racer{tree: tree, dirs: dirs, rng: rand.New(rand.NewPCG(uint64(w), 1))}
			for range steps {
				r.step()
			}
			for _, n := range r.held {
				tree.Unref(n, 1)
			}
		})
	}
	wg.Wait()
	checkTree(t, tree, dirs[1:]...)
}

// racer is one of many that use a tree.
type racer struct {
	tree *Tree
	dirs []*Inode
	rng  *rand.Rand
	held []*Inode // each with a reference
}

func (r *racer) dir() *Inode  { return r.dirs[r.rng.IntN(len(r.dirs))] }
func (r *racer) name() string { return fmt.Sprint("n", r.rng.IntN(12)) }

// hold keeps an inode for later, instead of another.
func (r *racer) hold(n *Inode, errno syscall.Errno) {
	if errno != 0 {
		return
	}
	r.held = append(r.held, n)
	if len(r.held) > 4 {
		i := r.rng.IntN(len(r.held))
		r.tree.Unref(r.held[i], 1)
		r.held = slices.Delete(r.held, i, i+1)
	}
}

func (r *racer) step() {
	tree, buf := r.tree, make([]byte, 20000)
	switch r.rng.IntN(9) {
	case 0:
		r.hold(tree.Mknod(r.dir(), r.name(), syscall.S_IFREG|0o644, 0, Owner{}))
	case 1:
		r.hold(tree.Mkdir(r.dir(), r.name(), 0o755, Owner{}))
	case 2:
		tree.Unlink(r.dir(), r.name())
	case 3:
		tree.Rmdir(r.dir(), r.name())
	case 4:
		tree.Rename(r.dir(), r.name(), r.dir(), r.name(), uint32(r.rng.IntN(3)))
	case 5:
		r.hold(tree.Tmpfile(r.dir(), 0o600, Owner{}))
	case 6:
		tree.ReadDir(r.dir(), uint64(r.rng.IntN(50)), func(d Dirent) bool {
			tree.Attr(d.Inode)
			tree.Ref(d.Inode)
			r.held = append(r.held, d.Inode)
			return len(r.held) < 8
		})
		tree.StatFS()
		tree.Changes()
	default:
		r.hold(tree.Lookup(r.dir(), r.name()))
	}
	if len(r.held) > 0 {
		r.use(r.held[r.rng.IntN(len(r.held))], buf)
	}
}

// use does something to an inode, which may have no name any more.
func (r *racer) use(n *Inode, buf []byte) {
	tree, off := r.tree, r.rng.Int64N(100000)
	switch r.rng.IntN(9) {
	case 0:
		tree.WriteAt(n, buf[:r.rng.IntN(len(buf))], off, true)
	case 1:
		tree.ReadAt(n, buf, off)
	case 2:
		tree.SetAttr(n, &SetAttr{Valid: SetSize | SetMode, Size: off, Mode: uint32(off)})
	case 3:
		tree.Allocate(n, off, off+1, uint32(r.rng.IntN(4)))
	case 4:
		tree.Link(r.dir(), r.name(), n)
	case 5:
		tree.SetXattr(n, "user."+r.name(), buf[:10], 0)
	case 6:
		tree.RemoveXattr(n, "user."+r.name())
	case 7:
		tree.Seek(n, off, unix.SEEK_DATA)
	case 8:
		tree.CopyRange(n, off, r.held[r.rng.IntN(len(r.held))], 0, 50000)
	}
	tree.Attr(n)
}

// TestFreezeWaitsForChangesUnderWay holds a lock as a change does.
func TestFreezeWaitsForChangesUnderWay(t *testing.T) {
	tree := newTree(t, nil)
	f := file(t, tree, tree.Root(), "f", "")
	for name, l := range map[string]sync.Locker{"names": &tree.mu, "content": &f.mu} {
		l.Lock()
		frozen := make(chan struct{})
		go func() {
			tree.Freeze()
			close(frozen)
		}()
		for range 1000 {
			runtime.Gosched() // time enough for a Freeze that does not wait
		}
		select {
		case <-frozen:
			t.Errorf("Freeze did not wait for a change of %s", name)
		default:
		}
		l.Unlock()
		<-frozen
	}
}

// TestFreezeIsABarrier checks that nothing changes after Freeze has returned.
func TestFreezeIsABarrier(t *testing.T) {
	for range 20 {
		tree := newTree(t, nil)
		f := file(t, tree, tree.Root(), "f", "")
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					_, wrote := tree.WriteAt(f, []byte("x"), int64(i), false)
					_, made := tree.Mknod(tree.Root(), fmt.Sprint(w, " ", i), syscall.S_IFREG, 0, Owner{})
					if wrote == syscall.EROFS && made == syscall.EROFS {
						return
					}
				}
			})
		}
		tree.Freeze()
		before, count := tree.Attr(f), tree.Attr(tree.Root()).Size
		wg.Wait()
		if tree.Attr(f) != before || tree.Attr(tree.Root()).Size != count {
			t.Fatal("the tree changed after Freeze")
		}
	}
}
