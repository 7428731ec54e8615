package fs

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// benchTree makes a tree in a detached tmpfs.
func benchTree(b testing.TB) *Tree {
	b.Helper()
	h, err := NewTmpfsHome(8<<30, 0)
	if err != nil {
		b.Fatal(err)
	}
	return treeIn(b, h, nil)
}

// benchNames are names made before the clock runs.
func benchNames(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("file-%08d.go", i)
	}
	return all
}

func benchFiles(b *testing.B, tree *Tree, dir *Inode, names []string) {
	b.Helper()
	for _, name := range names {
		n, errno := tree.Mknod(dir, name, syscall.S_IFREG|0o644, 0, Owner{})
		ok(b, errno)
		tree.Unref(n, 1)
	}
}

func BenchmarkCreate(b *testing.B) {
	tree, all := benchTree(b), benchNames(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	benchFiles(b, tree, tree.Root(), all)
}

// BenchmarkSmallFile makes a file, writes 4 KiB and removes it, with as many
// other files around that its descriptor was closed meanwhile.
func BenchmarkSmallFile(b *testing.B) {
	tree, p := benchTree(b), pattern(4096, 0)
	all := benchNames(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for i, name := range all {
		n, errno := tree.Mknod(tree.Root(), name, syscall.S_IFREG|0o644, 0, Owner{})
		ok(b, errno)
		_, errno = tree.WriteAt(n, p, 0, false)
		ok(b, errno)
		tree.Unref(n, 1)
		if i >= 2*maxDescriptors {
			ok(b, tree.Unlink(tree.Root(), all[i-2*maxDescriptors]))
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, size := range []int{8, 1000, 1000000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tree, all := benchTree(b), benchNames(size)
			benchFiles(b, tree, tree.Root(), all)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				n, errno := tree.Lookup(tree.Root(), all[i*7919%size])
				ok(b, errno)
				tree.Unref(n, 1)
			}
		})
	}
}

func BenchmarkAttr(b *testing.B) {
	tree := benchTree(b)
	f := file(b, tree, tree.Root(), "f", "content")
	for range b.N {
		tree.Attr(f)
	}
}

func BenchmarkWrite4K(b *testing.B) {
	for _, c := range []struct {
		name string
		span int64 // bytes, after which the offset begins again at 0
	}{{"append", 1 << 30}, {"overwrite", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			tree := benchTree(b)
			f := file(b, tree, tree.Root(), "f", "")
			p := pattern(4096, 0)
			b.SetBytes(4096)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				_, errno := tree.WriteAt(f, p, int64(i)*4096%c.span, false)
				ok(b, errno)
			}
		})
	}
}

func BenchmarkRead4K(b *testing.B) {
	tree := benchTree(b)
	f := file(b, tree, tree.Root(), "f", string(pattern(1<<20, 0)))
	p := make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_, errno := tree.ReadAt(f, p, int64(i)*4096%(1<<20))
		ok(b, errno)
	}
}

// BenchmarkReadDir measures the time for each name.
func BenchmarkReadDir(b *testing.B) {
	tree := benchTree(b)
	benchFiles(b, tree, tree.Root(), benchNames(100000))
	b.ResetTimer()
	for left := b.N; left > 0; {
		ok(b, tree.ReadDir(tree.Root(), 0, func(d Dirent) bool {
			tree.Attr(d.Inode)
			left--
			return left > 0
		}))
	}
}

// BenchmarkEmptyDirectory lists and removes the first name of a large directory
// again and again, the way that is quadratic where gaps are not skipped.
func BenchmarkEmptyDirectory(b *testing.B) {
	tree := benchTree(b)
	benchFiles(b, tree, tree.Root(), benchNames(b.N))
	b.ResetTimer()
	for range b.N {
		name := ""
		ok(b, tree.ReadDir(tree.Root(), 0, func(d Dirent) bool {
			name = d.Name
			return false
		}))
		ok(b, tree.Unlink(tree.Root(), name))
	}
}

func BenchmarkSpoolAdd(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tree, content := benchTree(b), pattern(size, 0)
			s := newSpool(b, tree)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%4096 == 0 {
					s.mu.Lock()
					s.rewind(0) // so that memory does not end before the benchmark
					s.mu.Unlock()
				}
				if _, err := s.Add(bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHeap measures how many bytes of the Go heap a file takes, including its name, by
// the number of files in a directory.
func BenchmarkHeap(b *testing.B) {
	const files = 200000
	content := map[string]func(b testing.TB, tree *Tree, s *Spool, n *Inode){
		"empty": noContent,
		"base": func(b testing.TB, tree *Tree, s *Spool, n *Inode) {
			base, err := s.Add(bytes.NewReader([]byte("content")))
			if err != nil {
				b.Fatal(err)
			}
			ok(b, tree.SetBase(n, base))
		},
		"upper": func(b testing.TB, tree *Tree, _ *Spool, n *Inode) { write(b, tree, n, "content", 0) },
	}
	for _, perDir := range []int{20, 1000, files} {
		for name, fill := range content {
			b.Run(fmt.Sprintf("%s/%d", name, perDir), func(b *testing.B) {
				for range b.N {
					b.ReportMetric(heapPerFile(b, files, perDir, fill), "B/file")
				}
			})
		}
	}
}

func noContent(testing.TB, *Tree, *Spool, *Inode) {}

// heapPerFile is what each of so many files takes of the heap, in bytes.
func heapPerFile(b testing.TB, files, perDir int, fill func(testing.TB, *Tree, *Spool, *Inode)) float64 {
	b.Helper()
	tree, all := benchTree(b), benchNames(files)
	s := newSpool(b, tree)
	before := heapInUse()
	dir := tree.Root()
	for i, name := range all {
		if i%perDir == 0 {
			dir = mkdir(b, tree, tree.Root(), fmt.Sprint("dir", i))
			tree.Unref(dir, 1)
		}
		n, errno := tree.Mknod(dir, name, syscall.S_IFREG|0o644, 0, Owner{})
		ok(b, errno)
		fill(b, tree, s, n)
		tree.Unref(n, 1)
	}
	tree.Seal()
	after := heapInUse()
	runtime.KeepAlive(all)
	runtime.KeepAlive(tree)
	return float64(after-before) / float64(files)
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// columnImage is an image of columns, which take about as much memory as those of an
// archive: so many directories, each of as many empty files.
type columnImage struct {
	names              string
	nameEnd            []uint32
	child, attr        []uint32
	sec, value         []int64
	nsec, seg, in, com []uint32
	perDir             uint32
}

func newColumnImage(dirs, perDir int) *columnImage {
	rows := 1 + dirs + dirs*perDir
	m := &columnImage{perDir: uint32(perDir), child: make([]uint32, rows+1)}
	for _, column := range []*[]uint32{&m.attr, &m.nsec, &m.seg, &m.in, &m.com} {
		*column = make([]uint32, rows)
	}
	m.sec, m.value = make([]int64, rows), make([]int64, rows)
	var names strings.Builder
	for row := range rows {
		switch {
		case row > dirs:
			fmt.Fprintf(&names, "file-%08d.go", row)
		case row > 0:
			fmt.Fprintf(&names, "dir%08d", row)
		}
		m.nameEnd = append(m.nameEnd, uint32(names.Len()))
		m.child[row+1] = uint32(min(rows, 1+dirs+row*perDir))
	}
	m.child[0], m.nameEnd, m.names = 1, slices.Clip(m.nameEnd), strings.Clone(names.String())
	return m
}

func (m *columnImage) Len() int                { return len(m.nameEnd) }
func (m *columnImage) Inode(row uint32) uint32 { return row }
func (m *columnImage) Target(uint32) string    { return "" }
func (m *columnImage) Xattrs(uint32) []Xattr   { return nil }
func (m *columnImage) Content(uint32) Base     { return nil }

func (m *columnImage) Children(row uint32) (first, n uint32) {
	return m.child[row], m.child[row+1] - m.child[row]
}

func (m *columnImage) Name(row uint32) string {
	if row == 0 {
		return ""
	}
	return m.names[m.nameEnd[row-1]:m.nameEnd[row]]
}

func (m *columnImage) Attr(row uint32) Attr {
	t := Time{Sec: m.sec[row], Nsec: m.nsec[row]}
	a := Attr{Mode: syscall.S_IFREG | 0o644, Nlink: 1, Size: m.value[row], Atime: t, Mtime: t, Ctime: t, Btime: t}
	if _, n := m.Children(row); n > 0 {
		a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	}
	return a
}

// million is the number of rows, about, of the benchmarks of an image.
const million = 1_000_000

// BenchmarkNewOn is what it takes to begin with 1,000,000 names of an image.
func BenchmarkNewOn(b *testing.B) {
	before := heapInUse()
	img := newColumnImage(million/100, 99)
	image := heapInUse() - before
	h, err := NewTmpfsHome(8<<30, 0)
	must(b, err)
	defer func() { must(b, h.Close()) }()
	var tree *Tree
	for b.Loop() {
		tree, err = NewOn(img, h, nil)
		must(b, err)
	}
	b.ReportMetric(float64(image)/1e6, "MB-image")
	b.ReportMetric(float64(heapInUse()-before-image)/1e6, "MB-tree")
	must(b, tree.Close())
	runtime.KeepAlive(img)
}

func imageTree(b *testing.B) *Tree { return treeOn(b, newColumnImage(million/100, 99), nil) }

// BenchmarkLookupOnImage looks a file up, and forgets it.
func BenchmarkLookupOnImage(b *testing.B) {
	tree := imageTree(b)
	dir := lookup(b, tree, "dir00000077")
	names := names(b, tree, dir)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n, errno := tree.Lookup(dir, names[i*7%len(names)])
		ok(b, errno)
		tree.Unref(n, 1)
	}
	tree.Unref(dir, 1)
}

// BenchmarkWalkOnImage measures the time for all names, and the memory that remains in use.
func BenchmarkWalkOnImage(b *testing.B) {
	tree := imageTree(b)
	before := heapInUse()
	for b.Loop() {
		must(b, tree.Walk(func(string, *Inode, Attr) error { return nil }))
	}
	b.ReportMetric(float64(int64(heapInUse()-before))/1e6, "MB-left")
	runtime.KeepAlive(tree)
}

// BenchmarkChangesOnImage asks what a commit asks, if the kernel knows 1,000,000 names and
// one of them has changed.
func BenchmarkChangesOnImage(b *testing.B) {
	tree := imageTree(b)
	before := heapInUse()
	must(b, tree.Walk(func(_ string, n *Inode, _ Attr) error { tree.Ref(n); return nil }))
	b.ReportMetric(float64(heapInUse()-before)/1e6, "MB-known")
	at(b, tree, "dir00000077", func(n *Inode) { tree.Unref(file(b, tree, n, "new", "x"), 1) })
	for name, ask := range map[string]func(){
		"changes": func() { tree.Changes() },
		"states":  func() { tree.RowStates() },
		"new":     func() { must(b, tree.WalkNew(func(string, *Inode, Attr) error { return nil })) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ask()
			}
		})
	}
}
