package fusefs

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

func testGuard(tb testing.TB, o *Options) *guard {
	tb.Helper()
	home, err := fs.NewArenaHome(64 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	return guardIn(tb, home, o)
}

// guardIn closes the home at the end of the test.
func guardIn(tb testing.TB, home fs.Home, o *Options) *guard {
	tb.Helper()
	tree, err := fs.New(home, &fs.Options{MaxInodes: 1000})
	if err != nil {
		tb.Fatal(err)
	}
	g, _, err := newGuard(tree, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tree.Close(); err != nil {
			tb.Error(err)
		}
		if err := home.Close(); err != nil {
			tb.Error(err)
		}
	})
	return g
}

// operations calls f with each method that a transport may call with a request,
// and its arguments: empty ones.
func operations(f func(name string, call func(*guard) []reflect.Value)) {
	raw := reflect.TypeFor[fuse.RawFileSystem]()
	for i := range raw.NumMethod() {
		name := raw.Method(i).Name
		switch name {
		case "String", "SetDebug", "Init", "OnUnmount":
			continue
		}
		method := raw.Method(i).Type
		var args []reflect.Value
		for j := range method.NumIn() {
			in := method.In(j)
			arg := reflect.Zero(in)
			if in.Kind() == reflect.Pointer {
				arg = reflect.New(in.Elem())
			}
			args = append(args, arg)
		}
		f(name, func(g *guard) []reflect.Value { return reflect.ValueOf(g).MethodByName(name).Call(args) })
	}
}

// lastStatus is the status among the results of a method.
func lastStatus(results []reflect.Value) (fuse.Status, bool) {
	if len(results) == 0 {
		return fuse.OK, false
	}
	st, ok := results[len(results)-1].Interface().(fuse.Status)
	return st, ok
}

func TestNoOperationPanicsOut(t *testing.T) {
	operations(func(name string, call func(*guard) []reflect.Value) {
		g := testGuard(t, &Options{Logger: slog.New(slog.DiscardHandler)})
		g.ops = nil // every call of it panics
		for _, when := range []string{"in", "after"} {
			if st, ok := lastStatus(call(g)); ok && st != fuse.EIO {
				t.Errorf("%s: %v %s a panic, want EIO", name, st, when)
			}
		}
		if err := g.tree.Err(); err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: the tree has %v, want the panic", name, err)
		}
	})
}

func TestEveryOperationIsCounted(t *testing.T) {
	g := testGuard(t, &Options{})
	calls := uint64(0)
	operations(func(name string, call func(*guard) []reflect.Value) {
		call(g)
		calls++
		var sum uint64
		for _, n := range g.stats() {
			sum += n
		}
		if sum != calls {
			t.Errorf("%s was not counted", name)
			calls = sum
		}
	})
	for o, name := range opNames {
		if name == "" || g.stats()[name] == 0 {
			t.Errorf("operation %d (%q) is called by nothing", o, name)
		}
	}
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	allowed := map[string]bool{
		"Lookup": true, "Forget": true, "GetAttr": true, "Readlink": true, "Open": true, "Read": true,
		"StatFs": true, "Release": true, "Fsync": true, "GetXAttr": true, "ListXAttr": true, "Flush": true,
		"OpenDir": true, "ReadDir": true, "ReadDirPlus": true, "ReleaseDir": true, "FsyncDir": true,
		"Access": true, "Ioctl": true, "Lseek": true, "Statx": true, "GetLk": true, "SetLk": true, "SetLkw": true,
	}
	g := testGuard(t, &Options{ReadOnly: true})
	operations(func(name string, call func(*guard) []reflect.Value) {
		if allowed[name] {
			return
		}
		if st, _ := lastStatus(call(g)); st != fuse.EROFS {
			t.Errorf("%s: %v, want EROFS", name, st)
		}
	})
}
