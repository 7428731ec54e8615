package fs

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestRenameAnswersAsTmpfs tries every pair of paths of a small tree with every flag, each
// time on a new tree, and compares the results and the trees afterwards with tmpfs.
func TestRenameAnswersAsTmpfs(t *testing.T) {
	paths := []string{"file", "other", "twin", "link", "full", "full/in", "full/deep", "full/deep/er", "empty", "none", "none/x", "file/x", "@0/x"}
	seen := map[syscall.Errno]int{}
	for _, from := range paths {
		for _, to := range paths {
			for _, flags := range []uint32{0, RenameNoReplace, RenameExchange, RenameNoReplace | RenameExchange, 8} {
				seen[renameBoth(t, from, to, flags)]++
			}
		}
	}
	for _, errno := range []syscall.Errno{
		0, syscall.ENOENT, syscall.EEXIST, syscall.EISDIR, syscall.ENOTDIR, syscall.ENOTEMPTY, syscall.EINVAL,
	} {
		if seen[errno] == 0 {
			t.Errorf("no rename was answered with %v", orNil(errno))
		}
	}
}

// renameBoth makes a tree on both sides, with a removed directory that is held,
// and does the rename.
func renameBoth(t *testing.T, from, to string, flags uint32) syscall.Errno {
	t.Helper()
	tree := newTree(t, nil)
	ours, theirs := &treeSide{tree: tree}, newKernelSide(t)
	defer theirs.close()
	var answers []syscall.Errno
	for _, s := range []side{ours, theirs} {
		for _, path := range []string{"full", "full/deep", "full/deep/er", "empty", "gone"} {
			ok(t, s.mkdir(path, 0o755))
		}
		for _, path := range []string{"file", "other", "full/in"} {
			ok(t, s.mknod(path, syscall.S_IFREG|0o644))
		}
		ok(t, s.link("file", "twin"))
		ok(t, s.symlink("link", "full"))
		ok(t, s.hold("gone", 0))
		ok(t, s.rmdir("gone"))
		answers = append(answers, s.rename(from, to, flags))
	}
	what := fmt.Sprintf("rename %s to %s, flags %d", from, to, flags)
	if answers[0] != answers[1] {
		t.Errorf("%s: the tree says %v, tmpfs %v", what, orNil(answers[0]), orNil(answers[1]))
	}
	if mine, its := describe(ours), describe(theirs); mine != its {
		t.Errorf("%s:\n%s", what, firstDifference(mine, its))
	}
	checkTree(t, tree, ours.held[0])
	return answers[0]
}

func TestRenameNamesThatAreTooLong(t *testing.T) {
	tree := newTree(t, nil)
	file(t, tree, tree.Root(), "f", "")
	long := strings.Repeat("n", maxName+1)
	want(t, tree.Rename(tree.Root(), long, tree.Root(), "x", 0), syscall.ENAMETOOLONG)
	want(t, tree.Rename(tree.Root(), "f", tree.Root(), long, 0), syscall.ENAMETOOLONG)
	want(t, tree.Rename(tree.Root(), "none", tree.Root(), long, 0), syscall.ENOENT)
	gone := mkdir(t, tree, tree.Root(), "gone")
	ok(t, tree.Rmdir(tree.Root(), "gone"))
	want(t, tree.Rename(tree.Root(), long, gone, "x", 0), syscall.ENAMETOOLONG)
	want(t, tree.Rename(tree.Root(), "f", gone, long, 0), syscall.ENOENT)
}
