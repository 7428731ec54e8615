package archive

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/fs"
)

// standing makes a tree that stands on an archive.
func standing(tb testing.TB, packed []byte) (*fs.Tree, *Archive) {
	tb.Helper()
	a, err := Open(tb.Context(), bytes.NewReader(packed), int64(len(packed)), nil)
	if err != nil {
		tb.Fatal(err)
	}
	src := a.Source(NewCache(4<<20), nil)
	img, err := a.Image(src, nil)
	if err != nil {
		tb.Fatal(err)
	}
	home, err := fs.NewArenaHome(1 << 30)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := fs.NewOn(img, home, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(t.Close(), home.Close(), src.Close()); err != nil {
			tb.Error(err)
		}
	})
	return t, a
}

// succeed returns the archive that t becomes, which stands on base, and its plan.
func succeed(tb testing.TB, t *fs.Tree, base []byte, a *Archive, log *Log) ([]byte, *Plan) {
	tb.Helper()
	plan, err := NewWriter(nil, nil).Plan(tb.Context(), t, a, log)
	if err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	for i, piece := range plan.Pieces {
		if piece.Write == nil {
			out.Write(base[piece.Off:][:piece.Len])
			continue
		}
		start := out.Len()
		for again := range 2 {
			var b bytes.Buffer
			if err := piece.Write(&b); err != nil {
				tb.Fatal(err)
			}
			if again == 0 {
				out.Write(b.Bytes())
			} else if !bytes.Equal(out.Bytes()[start:], b.Bytes()) {
				tb.Errorf("piece %d is written as other bytes the second time", i)
			}
		}
	}
	return out.Bytes(), plan
}

// mutator changes a tree at random.
type mutator struct {
	maker
	r    *rand.Rand
	made int
}

// pick returns a path of some kind, or "".
func (m *mutator) pick(format uint32) string {
	var all []string
	err := m.t.Walk(func(path string, _ *fs.Inode, a fs.Attr) error {
		if path != "" && a.Mode&syscall.S_IFMT == format {
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		m.tb.Fatal(err)
	}
	if len(all) == 0 {
		return ""
	}
	return all[m.r.IntN(len(all))]
}

func (m *mutator) text(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefgh\n"[m.r.IntN(9)]
	}
	return string(b)
}

func (m *mutator) fresh(dir string) string {
	m.made++
	name := fmt.Sprintf("%c-new-%d-%d", 'a'+m.r.IntN(26), m.r.IntN(1000), m.made)
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func (m *mutator) step() {
	file, dir := m.pick(syscall.S_IFREG), m.pick(syscall.S_IFDIR)
	if m.r.IntN(4) == 0 {
		dir = ""
	}
	switch op := m.r.IntN(18); {
	case op == 0:
		m.dir(m.fresh(dir))
	case op < 4 || file == "":
		m.file(m.fresh(dir), m.text(m.r.IntN(5000)))
	case op == 4:
		m.file(m.fresh(dir), strings.Repeat(m.text(1000), 700+m.r.IntN(3000)))
	case op == 5:
		m.symlink(m.fresh(dir), m.text(20))
	case op == 6:
		m.link(m.fresh(dir), file)
	case op < 9:
		m.write(m.at(file), m.text(1+m.r.IntN(3000)), m.r.Int64N(m.t.Attr(m.at(file)).Size+1))
	case op == 9:
		m.truncate(file, m.r.Int64N(2*m.t.Attr(m.at(file)).Size+2))
	case op < 12:
		from, name := fs.Split(file)
		m.ok(m.t.Unlink(m.at(from), name))
	case op == 12:
		m.rename(file, m.fresh(dir))
	case op == 13 && dir != "":
		if to := m.fresh(m.pick(syscall.S_IFDIR)); !strings.HasPrefix(to, dir+"/") {
			m.rename(dir, to)
		}
	case op == 14:
		m.mode(file, uint32(m.r.IntN(0o1000)))
	case op == 15:
		m.mtime(file, m.r.Int64N(1<<31), uint32(m.r.IntN(1e9)))
	case op == 16:
		m.xattr(file, fmt.Sprintf("user.%d", m.r.IntN(3)), m.text(m.r.IntN(100)))
	case op == 17:
		m.owner(file, uint32(m.r.IntN(3)), uint32(m.r.IntN(3)))
	}
}

func (m *mutator) rename(from, to string) {
	m.tb.Helper()
	d1, n1 := fs.Split(from)
	d2, n2 := fs.Split(to)
	m.ok(m.t.Rename(m.at(d1), n1, m.at(d2), n2, 0))
}

// nextLog is the log of one more commit.
func nextLog(l *Log) *Log { return l.Next(Record{ID: NewCommitID(), Tool: "test"}) }

// Commit after commit on top of each other gives what the tree holds, to every reader of
// a tar, as an archive that was packed afresh would.
func TestSuccessorsHoldTheTree(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			tree := fullTree(t)
			log := testLog(0)
			archive := pack(t, tree, log, nil)
			for commit := range 12 {
				on, a := standing(t, archive)
				m := &mutator{maker{t, on}, r, commit * 1000}
				for range 1 + r.IntN(10) {
					m.step()
				}
				on.Freeze()
				log = nextLog(log)
				next, plan := succeed(t, on, archive, a, log)
				checkSuccessor(t, on, next, log, plan)
				archive = next
			}
		})
	}
}

func checkSuccessor(t *testing.T, on *fs.Tree, archive []byte, log *Log, plan *Plan) {
	t.Helper()
	x := checkArchive(t, archive)
	compareParsers(t, "successor", archive)
	loaded, got := mustLoad(t, archive, nil)
	want := packed(dump(t, on))
	wantSame(t, want, dump(t, loaded))
	if !reflect.DeepEqual(got.Record.ID, log.Record.ID) || got.Len() != log.Len() {
		t.Errorf("the log is that of %s", got.Record.ID)
	}
	if plan.Entries != int64(x.rows())-1 {
		t.Errorf("the plan counts %d entries of %d", plan.Entries, x.rows()-1)
	}
	again, _ := standing(t, archive)
	wantSame(t, want, packed(dump(t, again)))
}

// rawTar returns the tar of an archive of ours.
func rawTar(tb testing.TB, archive []byte) []byte {
	tb.Helper()
	f, err := footerAt(archive)
	if err != nil {
		tb.Fatal(err)
	}
	raw, ok := gunzipped(archive[:f.first.packed])
	if !ok {
		tb.Fatal("the first member is damaged")
	}
	return raw
}

// wideTree has small files in some directories, and a big one.
func wideTree(tb testing.TB, files int) *fs.Tree {
	t := newTree(tb)
	m := maker{tb, t}
	text := randomText(20_000 + files)
	for i := range files {
		dir := fmt.Sprintf("dir%02d", i%20)
		if i < 20 {
			m.dir(dir)
			m.dir(dir + "/sub")
		}
		m.file(fmt.Sprintf("%s/sub/file%04d", dir, i), text[i:][:10_000+i%5000])
	}
	noise := make([]byte, 9<<20+5)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	m.file("dir03/big", string(noise))
	return t
}

// What a change costs: the groups that it touches, and no chunk that it does not.
func TestSuccessorKeepsWhatIsAlive(t *testing.T) {
	tree := wideTree(t, 600)
	log := testLog(0)
	base := pack(t, tree, log, nil)
	const chunk = chunkSize + chunkSize/100
	group := int64(len(base)-9<<20) / 10 // of ten or so
	for _, c := range []struct {
		name   string
		change func(m maker)
		most   int64 // bytes that are new
	}{
		{"nothing", func(maker) {}, 8_000},
		{"a line", func(m maker) { m.write(m.at("dir07/sub/file0007"), "a line\n", 5) }, 8_000 + group},
		{"a new file", func(m maker) { m.file("dir07/new", "x") }, 8_000 + group},
		{"a byte of a big file", func(m maker) { m.write(m.at("dir03/big"), "a", 4<<20) }, 8_000 + chunk},
		{"appended to a big file", func(m maker) { m.write(m.at("dir03/big"), "a", 9<<20+5) }, 8_000},
		{"the mode of a big file", func(m maker) { m.mode("dir03/big", 0o600) }, 8_000},
		{"the name of a big file", func(m maker) { m.ok(m.t.Rename(m.at("dir03"), "big", m.at("dir04"), "large", 0)) }, 8_000},
		{"a further name of a big file", func(m maker) { m.link("a", "dir03/big") }, 8_000},
		{"a big file cut", func(m maker) { m.truncate("dir03/big", 5<<20) }, 8_000},
		{"a big file cut within a chunk", func(m maker) { m.truncate("dir03/big", 5<<20+1) }, 8_000},
		{"a hole behind a big file", func(m maker) { m.truncate("dir03/big", 100<<20) }, 8_000 + 120_000},
		{"a big file removed", func(m maker) { m.ok(m.t.Unlink(m.at("dir03"), "big")) }, 8_000},
		{"a directory of a big file renamed", func(m maker) { m.ok(m.t.Rename(m.at(""), "dir03", m.at(""), "moved", 0)) }, 8_000 + 20*group},
	} {
		t.Run(c.name, func(t *testing.T) {
			on, a := standing(t, base)
			c.change(maker{t, on})
			on.Freeze()
			log := nextLog(log)
			next, plan := succeed(t, on, base, a, log)
			if fresh := int64(len(next)) - plan.Kept; fresh > c.most {
				t.Errorf("%d bytes are new, of %d, in %d pieces", fresh, len(next), len(plan.Pieces))
			}
			checkSuccessor(t, on, next, log, plan)
		})
	}
}

// A successor that keeps nothing has the tar of an archive that was packed afresh.
func TestSuccessorOfScatteredGroups(t *testing.T) {
	tree := wideTree(t, 60)
	log := testLog(0)
	archive := pack(t, tree, log, nil)
	on, a := standing(t, archive)
	s, err := prepareSuccessor(t.Context(), on, a.idx, log, &WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.drop {
		s.drop[i] = true
	}
	s.lay()
	var out bytes.Buffer
	for _, p := range s.p.plan(t.Context()).Pieces {
		if err := p.Write(&out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(rawTar(t, archive), rawTar(t, out.Bytes())) {
		t.Error("the tar is another one")
	}
	for i := range 30 { // one group of its own each, were they not put together
		m := maker{t, on}
		m.file(fmt.Sprint("new", i), randomText(30_000))
		on.Freeze()
		log = nextLog(log)
		archive, _ = succeed(t, on, archive, a, log)
		on, a = standing(t, archive)
	}
	groups := 0
	for _, seg := range a.idx.segs {
		if seg.kind == segGroup {
			groups++
		}
	}
	if groups > 8 {
		t.Errorf("%d groups for %d bytes", groups, a.idx.segs[len(a.idx.segs)-1].rawOff)
	}
}

// A further name never comes to stand before its file, also where a base by another
// writer has contents and further names in one group.
func TestSuccessorOfGroupsThatHoldAllKinds(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	for _, name := range []string{"a", "b", "e", "f", "g"} {
		m.file(name, randomText(groupSize/2+len(name)))
	}
	m.truncate("a", 1)
	m.truncate("b", 1)
	m.link("c", "b")
	m.link("d", "a")
	log := testLog(0)
	p, err := newPacking(t.Context(), tree, log, &WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const a, b, c, d, e, f, g = 1, 2, 3, 4, 5, 6, 7
	p.runs = []run{{parts: []part{{rows: []uint32{a, e}}, {rows: []uint32{d, b, f}}, {rows: []uint32{c, g}}, {rows: []uint32{tarEnd}}}}}
	var base bytes.Buffer
	if err := p.write(t.Context(), &base, 0); err != nil {
		t.Fatal(err)
	}
	on, archive := standing(t, base.Bytes())
	m = maker{t, on}
	m.write(m.at("e"), "other", 0)
	on.Freeze()
	log = nextLog(log)
	next, plan := succeed(t, on, base.Bytes(), archive, log)
	checkSuccessor(t, on, next, log, plan)
}

// After many commits an archive is hardly larger than one that was packed afresh.
func TestSuccessorsStaySmall(t *testing.T) {
	tree := wideTree(t, 2000)
	log := testLog(0)
	archive := pack(t, tree, log, nil)
	r := rand.New(rand.NewPCG(5, 5))
	for range 40 {
		on, a := standing(t, archive)
		m := maker{t, on}
		for range 1 + r.IntN(5) {
			i := r.IntN(2000)
			m.write(m.at(fmt.Sprintf("dir%02d/sub/file%04d", i%20, i)), randomText(500)[r.IntN(400):], r.Int64N(10_000))
		}
		on.Freeze()
		log = nextLog(log)
		archive, _ = succeed(t, on, archive, a, log)
	}
	on, _ := standing(t, archive)
	if fresh := pack(t, on, log, nil); len(archive) > len(fresh)+len(fresh)/100 {
		t.Errorf("it has %d bytes, packed afresh %d", len(archive), len(fresh))
	}
}

// The index knows which commit changed a path last.
func TestSuccessorsRememberCommits(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.dir("d")
	m.file("d/a", "a")
	m.file("d/b", "b")
	m.link("d/link", "d/b")
	m.symlink("s", "d")
	log := testLog(0)
	archive := pack(t, tree, log, nil)
	want := map[string]CommitID{"d": log.Record.ID, "d/a": log.Record.ID, "d/b": log.Record.ID, "d/link": log.Record.ID, "s": log.Record.ID}
	for _, c := range []struct {
		change  func(m maker)
		touched []string
	}{
		{func(m maker) { m.write(m.at("d/a"), "x", 0) }, []string{"d/a"}},
		{func(m maker) { m.file("n", "new") }, []string{"n"}},
		{func(m maker) { m.mode("d/link", 0o600) }, []string{"d/b", "d/link"}},
		{func(m maker) { m.ok(m.t.Unlink(m.at("d"), "a")) }, []string{"d", "d/a"}},
		{func(m maker) { m.link("0", "d/b") }, []string{"0"}},
	} {
		on, a := standing(t, archive)
		c.change(maker{t, on})
		on.Freeze()
		log = nextLog(log)
		archive, _ = succeed(t, on, archive, a, log)
		for _, path := range c.touched {
			want[path] = log.Record.ID
		}
		x := indexOf(t, archive)
		for row := uint32(1); row < uint32(x.rows()); row++ {
			if got := commitIDOf(x.commits[x.commit[row]]); got != want[x.path(row)] {
				t.Errorf("after %v: %s was changed by %s, want %s", c.touched, x.path(row), got, want[x.path(row)])
			}
		}
	}
}

// Links that lead to each other are met again by other pointers in a tree that stands on
// an archive; following them once had no end.
func TestLinksThatLoopInAStandingTree(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.dir("a")
	m.dir("b")
	m.symlink("a/x", "../b/y")
	m.symlink("b/y", "../a/x")
	m.symlink("good", "a/../b")
	m.symlink("start", "a/x")
	on, _ := standing(t, pack(t, tree, testLog(0), nil))
	err := Check(t.Context(), on, &WriterOptions{Portable: true})
	var refused *PortableError
	if !errors.As(err, &refused) || !reflect.DeepEqual(refused.Paths, []string{"a/x", "b/y", "start"}) {
		t.Error(err)
	}
}
