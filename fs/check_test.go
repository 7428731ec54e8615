package fs

import (
	"slices"

	"pgregory.net/rapid"
)

// checkTree holds a tree in which nothing is under way against its rules: link
// counts are counts of names, and an inode lives because of a name or a
// reference, one for each that is held. One of an image lives because of a reference or
// because it was changed.
func checkTree(t rapid.TB, tree *Tree, held ...*Inode) {
	t.Helper()
	refs := map[*Inode]int64{}
	for _, n := range held {
		if n != nil {
			refs[n]++
		}
	}
	for n := range tree.inodes.all() {
		if n.refs.Load() != refs[n] && n != tree.root {
			t.Fatalf("inode %d has %d references, but %d are held", n.ino, n.refs.Load(), refs[n])
		}
		if refs[n] == 0 && n != tree.root && (n.nlink == 0 || tree.idleLocked(n)) {
			t.Fatalf("inode %d has %d names and no reference, and is no change", n.ino, n.nlink)
		}
	}
	links, walked := map[uint64]uint32{rootIno: 1}, []*Inode{}
	if err := tree.Walk(func(path string, n *Inode, _ Attr) error {
		tree.Ref(n)
		walked = append(walked, n)
		if n.isDir() {
			links[n.ino]++ // its own "."
			for _, ino := range n.dir().sorted() {
				links[ino]++
			}
			if path != "" {
				links[n.dir().parent]++ // its ".."
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	checkCounts(t, tree, links)
	checkRows(t, tree)
	for _, n := range walked {
		tree.Unref(n, 1)
	}
}

// checkRows compares what the packer is told of a tree on an image with what the tree
// holds.
func checkRows(t rapid.TB, tree *Tree) {
	t.Helper()
	states, rows := tree.RowStates(), map[string]uint32{}
	for row := range uint32(tree.rows) {
		rows[rowPath(tree, row)] = row
	}
	var fresh, stood []string
	must(t, tree.WalkNew(func(path string, _ *Inode, _ Attr) error {
		fresh = append(fresh, path)
		return nil
	}))
	must(t, tree.Walk(func(path string, n *Inode, a Attr) error {
		row, ok := rows[path]
		switch ok = ok && inoOf(tree.image, row) == n.ino; {
		case !ok && path != "":
			if len(fresh) == 0 || fresh[0] != path {
				t.Fatalf("%q is new, but the next that is found is %q", path, fresh[:min(1, len(fresh))])
			}
			fresh = fresh[1:]
		case ok:
			stood = append(stood, path)
			if states[row]&RowMoved != 0 {
				t.Fatalf("%q is said to have moved", path)
			}
			was := tree.image.Attr(uint32(n.ino - 1))
			was.Atime, was.Ctime, was.Btime, was.Nlink, was.Ino, was.Blocks = a.Atime, a.Ctime, a.Btime, a.Nlink, a.Ino, a.Blocks
			if n.isDir() {
				was.Size = a.Size
			}
			if states[n.ino-1]&^RowMoved == 0 && was != a {
				t.Fatalf("%q is said to be the same: %+v, was %+v", path, a, was)
			}
		}
		return nil
	}))
	if len(fresh) > 0 {
		t.Fatalf("%q are said to be new", fresh)
	}
	for path, row := range rows {
		if states[row]&RowMoved == 0 && !slices.Contains(stood, path) {
			t.Fatalf("%q is said to stand where it stood", path)
		}
	}
}

// checkCounts compares a tree, given all its inodes, with what it counts.
func checkCounts(t rapid.TB, tree *Tree, links map[uint64]uint32) {
	t.Helper()
	used, text, names := int64(0), int64(0), int64(0)
	for n := range tree.inodes.all() {
		if n.nlink != links[n.ino] {
			t.Fatalf("inode %d has %d links, but %d are counted", n.ino, n.nlink, links[n.ino])
		}
		used += checkContent(t, n)
		text += textOf(n)
		if names++; !n.isDir() {
			names += max(0, int64(n.nlink)-1)
		}
	}
	for _, s := range tree.spools {
		used += checkSpool(t, s)
	}
	if got := tree.bytes.used.Load(); got != used {
		t.Fatalf("%d bytes are counted as used, but %d are", got, used)
	}
	if got := tree.text.used.Load(); got != text {
		t.Fatalf("%d bytes of text are counted, but there are %d", got, text)
	}
	if got := tree.heap.used.Load(); got != names*inodeCost+text {
		t.Fatalf("%d bytes of the heap are counted, but there are %d names and %d bytes of text", got, names, text)
	}
	if got := tree.nodes.used.Load(); got != names {
		t.Fatalf("%d inodes and links are counted, but there are %d", got, names)
	}
}

// textOf counts the names in n, and what else of it counts as bytes on the heap.
func textOf(n *Inode) (text int64) {
	if n.isDir() {
		for name := range n.dir().sorted() {
			text += int64(len(name))
		}
	}
	if n.extra != nil {
		text += n.extra.targetBytes() + n.extra.xattrBytes()
	}
	if f, ok := n.baseLocked().(*sparseFile); ok && f.left > 0 {
		text += f.text()
	}
	return text
}

// checkSpool counts the pages that files use, and returns the memory that a spool takes.
func checkSpool(t rapid.TB, s *Spool) int64 {
	t.Helper()
	live := make([]uint32, len(s.live))
	for n := range s.tree.inodes.all() {
		count := func(from, to int64) {
			eachPage(from, to, func(page, bytes int64) { live[page] += uint32(bytes) })
		}
		for _, r := range n.leftLocked() {
			switch f := n.baseLocked().(type) {
			case *spoolFile:
				count(f.start+r.begin, f.start+r.end)
			case *sparseFile:
				for _, run := range f.runs {
					if from, to := max(r.begin, run.off), min(r.end, run.end); from < to {
						count(run.start+from-run.off, run.start+to-run.off)
					}
				}
			}
		}
	}
	given := int64(0)
	for page, bytes := range s.live {
		if bytes == pageGiven {
			bytes, given = 0, given+pageSize
		}
		if bytes != live[page] {
			t.Fatalf("files have %d bytes of page %d of a spool, but %d are counted", live[page], page, bytes)
		}
	}
	if given != s.given {
		t.Fatalf("%d bytes of a spool are marked as given back, but %d are counted", given, s.given)
	}
	return s.room - given
}

// checkContent returns the memory that the content takes.
func checkContent(t rapid.TB, n *Inode) int64 {
	u, isUpper := n.content.(*upper)
	if !isUpper {
		return 0
	}
	used, err := u.Used()
	if err != nil || used != u.pages*pageSize {
		t.Fatalf("inode %d takes %d bytes (%v), but %d pages are counted", n.ino, used, err, u.pages)
	}
	for pos := int64(0); ; {
		data, err := u.File.SeekData(pos)
		if err != nil {
			break
		}
		if pos, err = u.File.SeekHole(data); err != nil {
			t.Fatal(err)
		}
		if base := u.below.Load().within(data, pos); len(base) > 0 {
			t.Fatalf("inode %d has data over what is base: %v", n.ino, base)
		}
	}
	return used
}
