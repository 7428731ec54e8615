package integration

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/testenv"
)

const (
	defaultStress   = 100_000 // operations, of all rounds together
	stressProcesses = 8
	stressRound     = 25_000 // operations between two commits, of all processes
)

// Environment of a stress process.
const (
	stressDirVariable  = "WORKDIR_INTEGRATION_STRESS_DIR"
	stressSeedVariable = "WORKDIR_INTEGRATION_STRESS_SEED"
	stressOpsVariable  = "WORKDIR_INTEGRATION_STRESS_OPS"
	stressSelfVariable = "WORKDIR_INTEGRATION_STRESS_SELF" // its number

	stressWithoutVariable = "WORKDIR_INTEGRATION_STRESS_WITHOUT" // how names of operations begin that it leaves out
)

func init() { roles["stress"] = stress }

// Whatever eight processes do to one tree at the same time, the archive keeps it:
// the tree before a commit equals the tree after. Rounds go on with what the last
// one has stored.
func TestStress(t *testing.T) {
	first := seed(t)
	rounds := testenv.Number(t, stressVariable, defaultStress) / stressRound
	keep := []string{"--owner", "keep", "--allow-other"} // a file that gets another owner loses set-user-ID; the overlay shows a private root as 0700
	onWays(t, func(e *env, w way) {
		url := e.url("stress")
		done, want := map[string]int{}, map[string]entry(nil)
		last := max(2, w.of(rounds)) - 1 // two rounds, since the second has content from an archive
		for round := range last + 1 {
			e.workBy(w, url, func(dir string) {
				if round > 0 {
					mustEqual(e.t, fmt.Sprintf("round %d, before it", round), want, snapshotOf(e.t, dir))
				}
				e.clear(filepath.Join(dir, "d"+strconv.Itoa(round%stressBranches)))
				e.stress(w, dir, first+round, stressRound/stressProcesses, done)
				if round < last && w.view == "overlay" {
					e.unlinkFurther(dir)
				}
				want = storedLinks(snapshotOf(e.t, dir))
			}, keep...)
			stored := e.look(url, keep...)
			if w.view == "overlay" {
				joinForgotten(want, stored)
			}
			mustEqual(e.t, fmt.Sprintf("round %d, after the commit", round), want, stored)
			if e.t.Failed() {
				return
			}
			e.t.Logf("round %d: %d names", round, len(want))
		}
		checkStress(e.t, done, w.without())
	})
}

// clear removes a directory with all that is in it. Renames make a tree deeper than
// names are drawn, so that it would only grow.
func (e *env) clear(path string) {
	e.t.Helper()
	if err := os.RemoveAll(path); err != nil {
		e.t.Fatal(err)
	}
}

// unlinkFurther leaves one name of each file, or none of one whose names have several
// inode numbers, see joinForgotten: no overlay takes an archive with hard links.
func (e *env) unlinkFurther(dir string) {
	e.t.Helper()
	further := func(name string, en entry) bool { return en.link != "" && en.link != name }
	linked := func(_ string, en entry) bool { return en.nlink > 1 }
	for _, unlinks := range []func(string, entry) bool{further, linked} {
		for name, en := range snapshotOf(e.t, dir) {
			if en.kind == "file" && unlinks(name, en) {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					e.t.Fatal(err)
				}
			}
		}
	}
}

// joinForgotten gives names in shown the hard link that they have in stored, if an overlay
// has shown them with inode numbers of their own: link-of-a-forgotten-file of
// docs/semantics.md. Their number of links says that they are names of one file.
func joinForgotten(shown, stored map[string]entry) {
	for name, en := range shown {
		if got := stored[name]; en.kind == "file" && en.link == "" && en.nlink > 1 && got.nlink == en.nlink {
			en.link = got.link
			shown[name] = en
		}
	}
}

// storedLinks returns a snapshot as an archive keeps it: of inodes with several
// names, only files come back as one.
func storedLinks(s map[string]entry) map[string]entry {
	for name, en := range s {
		if en.kind != "directory" && en.kind != "file" {
			en.link, en.nlink = "", 1
			s[name] = en
		}
	}
	return s
}

// stress runs the processes, and adds up what they have done, by operation.
func (e *env) stress(w way, dir string, seed, ops int, done map[string]int) {
	e.t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for self := range stressProcesses {
		cmd := e.role("stress",
			stressDirVariable+"="+dir,
			stressWithoutVariable+"="+w.without(),
			stressSeedVariable+"="+strconv.Itoa(seed),
			stressOpsVariable+"="+strconv.Itoa(ops),
			stressSelfVariable+"="+strconv.Itoa(self))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		wg.Go(func() {
			out, err := cmd.Output()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				e.t.Errorf("seed %d, process %d: %v\n%s", seed, self, err, lastOf(errs.String(), 4000))
			}
			for line := range strings.Lines(string(out)) {
				var name string
				var n int
				if _, err := fmt.Sscan(line, &name, &n); err != nil {
					e.t.Errorf("process %d said %q: %v", self, line, err)
				}
				done[name] += n
			}
		})
	}
	wg.Wait()
	if e.t.Failed() {
		e.t.FailNow()
	}
}

// checkStress reports operations that never did anything: they test nothing.
func checkStress(t *testing.T, done map[string]int, without string) {
	t.Helper()
	var all []string
	for _, op := range stressOps {
		all = append(all, fmt.Sprintf("%s %d", op.name, done[op.name]))
		if done[op.name] == 0 && !leftOut(op.name, without) {
			t.Errorf("%s never succeeded", op.name)
		}
	}
	t.Log(strings.Join(all, ", "))
}

// stress is one of the processes: it prints how often each operation succeeded.
func stress() int {
	debug.SetPanicOnFault(true) // a file that is mapped may be cut by another process
	var numbers []int
	for _, name := range []string{stressSeedVariable, stressSelfVariable, stressOpsVariable} {
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return 1
		}
		numbers = append(numbers, n)
	}
	s := &stressor{dir: os.Getenv(stressDirVariable), rand: rand.New(rand.NewPCG(uint64(numbers[0]), uint64(numbers[1])))}
	done, err := s.run(numbers[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, name := range slices.Sorted(maps.Keys(done)) {
		fmt.Println(name, done[name])
	}
	return 0
}

// expected are the errors that operations on random names have on tmpfs. Others
// end the test.
var expected = []unix.Errno{
	unix.ENOENT, unix.EEXIST, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY,
	unix.ELOOP,                                        // a symbolic link where O_NOFOLLOW forbids it
	unix.EINVAL,                                       // rename into the own subtree; readlink of what is no link; a FIFO that is to be cut
	unix.EPERM,                                        // link of a directory; user.* attributes of links and FIFOs
	unix.ENODATA,                                      // no such attribute
	unix.ENXIO,                                        // no data behind that place; a FIFO that nobody reads
	unix.ESPIPE, unix.EBADF, unix.ENODEV, unix.EACCES, // FIFOs and directories in a file's place
}

// run does random operations, and returns how many of each succeeded.
func (s *stressor) run(ops int) (map[string]int, error) {
	var drawn []int // indices into stressOps, by weight
	for i, op := range stressOps {
		if leftOut(op.name, os.Getenv(stressWithoutVariable)) {
			continue
		}
		drawn = append(drawn, slices.Repeat([]int{i}, op.weight)...)
	}
	buf, err := unix.Mmap(-1, 0, stressIO, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // aligned for O_DIRECT
	if err != nil {
		return nil, err
	}
	s.buf = buf
	done := map[string]int{}
	for range ops {
		op := stressOps[drawn[s.rand.IntN(len(drawn))]]
		err := s.guarded(op.do)
		if err == nil {
			done[op.name]++
		} else if errno := errnoOf(err); !isExpected(op.name, errno) {
			return nil, fmt.Errorf("%s: %w", op.name, err)
		}
	}
	return done, nil
}

// isExpected reports whether an operation may fail so: as on tmpfs, or as docs/semantics.md
// has it (copied-range).
func isExpected(op string, errno unix.Errno) bool {
	return slices.Contains(expected, errno) || op == "copy-range" && errno == unix.EXDEV
}

func errnoOf(err error) unix.Errno {
	if p, ok := err.(*fs.PathError); ok {
		err = p.Err
	}
	errno, _ := err.(unix.Errno) // 0 is never expected
	return errno
}

// guarded turns the SIGBUS of a mapping whose file was cut into ENXIO.
func (s *stressor) guarded(do func(*stressor) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = unix.ENXIO
		}
	}()
	return do(s)
}
