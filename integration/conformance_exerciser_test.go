package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/internal/testenv"
)

// exerciseModes are ways to use a file: those of the classic fsx beyond its plain
// one, and a file of many segments.
var exerciseModes = []*exerciseMode{
	{name: "unaligned", limit: 256 << 10, longest: 64 << 10, transfer: newPlain},
	{name: "direct", limit: 256 << 10, longest: 64 << 10, align: 4 << 10, direct: true, transfer: newPlain},
	{name: "aio", limit: 256 << 10, longest: 64 << 10, transfer: newAIO},
	{name: "aio-direct", limit: 256 << 10, longest: 64 << 10, align: 4 << 10, direct: true, transfer: newAIO},
	{name: "io_uring", limit: 256 << 10, longest: 64 << 10, transfer: newRing},
	{name: "io_uring-direct", limit: 256 << 10, longest: 64 << 10, align: 4 << 10, direct: true, transfer: newRing},
	{name: "prefilled", limit: 256 << 10, longest: 64 << 10, prefilled: true, transfer: newPlain},
	{name: "long", limit: 8 << 20, longest: 256 << 10, prefilled: true, transfer: newPlain},
}

// exercisePhases are what the files are in, in this order: an empty workspace, the
// archive that was made of it, and one that another program made.
var exercisePhases = []string{"new", "committed", "foreign"}

// A file reads as what was done to it, in each mode: in a mount that has made it,
// after a commit and a remount, and where it came from another program's archive.
// On tmpfs the same holds, or the test is wrong.
func TestExerciser(t *testing.T) {
	first := seed(t)
	ops := testenv.Number(t, fsxVariable, defaultFsx) / (len(exercisePhases) * len(exerciseModes))
	t.Run("tmpfs", func(t *testing.T) {
		all := newExercisers(t, first)
		all.without = tmpfsLacks
		all.run(t, "new", memoryDir(t), ops/wayShares)
	})
	onWays(t, func(e *env, w way) {
		all := newExercisers(t, first+1)
		for _, phase := range exercisePhases {
			key := "ours"
			if phase == "foreign" {
				key = "foreign"
				all = newExercisers(t, first+2)
				all.pack(e, key)
			}
			all.without = w.without()
			e.workBy(w, e.url(key), func(dir string) {
				all.run(e.t, phase, dir, w.of(ops))
			})
		}
	})
}

// exercisers are one for each mode.
type exercisers struct {
	seed    int
	each    []*exerciser
	without string // operations whose names begin so are left out
}

func newExercisers(t *testing.T, seed int) *exercisers {
	t.Helper()
	all := &exercisers{seed: seed}
	for i, m := range exerciseModes {
		x, err := newExerciser(m, seed, i)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		t.Cleanup(x.end)
		all.each = append(all.each, x)
	}
	return all
}

// pack makes an archive that has every file already, full.
func (all *exercisers) pack(e *env, key string) {
	e.t.Helper()
	dir := e.mkdir("packed")
	for _, x := range all.each {
		x.fill()
		if err := os.WriteFile(filepath.Join(dir, x.mode.name), x.want, 0o644); err != nil {
			e.t.Fatal(err)
		}
	}
	goTar(e, dir, e.archive(key))
}

// run has each do that many operations on its file in a directory.
func (all *exercisers) run(t *testing.T, phase, dir string, ops int) {
	t.Helper()
	for _, x := range all.each {
		if err := x.run(filepath.Join(dir, x.mode.name), ops, all.without, phase == "new"); err != nil {
			t.Fatalf("%s, %s, seed %d: %v", phase, x.mode.name, all.seed, err)
		}
	}
	var done []string
	for _, op := range exerciseOps {
		n := 0
		for _, x := range all.each {
			n += x.done[op.name]
		}
		done = append(done, fmt.Sprintf("%s %d", op.name, n))
		if n == 0 && !leftOut(op.name, all.without) {
			t.Errorf("%s: %s was never done", phase, op.name)
		}
	}
	t.Logf("%s: %d operations in each of %d modes; until now %s", phase, ops, len(all.each), strings.Join(done, ", "))
}
