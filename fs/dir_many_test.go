package fs

import (
	"fmt"
	"testing"
)

// manyNames makes a directory of so many names, which belong to one file. The tests
// of it count steps.
func manyNames(t *testing.T, count int) (*Tree, *directory) {
	t.Helper()
	tree := newTree(t, nil)
	n := file(t, tree, tree.Root(), "0", "")
	defer tree.Unref(n, 1)
	for i := range count - 1 {
		ok(t, tree.Link(tree.Root(), fmt.Sprint(i+1), n))
	}
	return tree, tree.root.dir()
}

// A name is found after some steps, in a directory of any size.
func TestManyNamesAreFound(t *testing.T) {
	const million = 1_000_000
	tree, d := manyNames(t, million)
	steps, mask := 0, uint64(len(d.index)-1)
	for at, number := range d.index {
		if number > 0 {
			home := hashName(d.name(d.slots.at(int(number-1)))) & mask
			steps += int((uint64(at)-home)&mask) + 1
		}
	}
	if steps > 4*million {
		t.Errorf("%d names are found in %d steps, which is more than four for each", million, steps)
	}
	for _, name := range []string{"0", "999999"} {
		n, errno := tree.Lookup(tree.Root(), name)
		ok(t, errno)
		tree.Unref(n, 1)
	}
}

// A listing that continues while its names are removed (rm -rf) looks at each name once,
// apart from gaps that compaction has not removed yet. So does one that starts anew each
// time.
func TestManyNamesAreListedWhileTheyGo(t *testing.T) {
	for anew, count := range map[bool]int{false: 1_000_000, true: 100_000} {
		t.Run(fmt.Sprintf("anew %v", anew), func(t *testing.T) {
			tree, d := manyNames(t, count)
			const page = 1000
			cookie, looked, pages := uint64(0), 0, 0
			for d.live > 0 {
				var names []string
				from := cookie
				ok(t, tree.ReadDir(tree.Root(), from, func(e Dirent) bool {
					if len(names) == page {
						return false
					}
					names, cookie = append(names, e.Name), e.Cookie
					return true
				}))
				before := d.head
				if from >= firstCookie {
					before = d.after(0, from)
				}
				looked += d.after(before, cookie) - before
				for _, name := range names {
					ok(t, tree.Unlink(tree.Root(), name))
				}
				if anew {
					cookie = 0
				}
				pages++
			}
			if looked > 2*count || pages > count/page+1 || d.slots.len() > 2*scanned {
				t.Errorf("%d slots were looked at in %d pages, and %d are left", looked, pages, d.slots.len())
			}
		})
	}
}
