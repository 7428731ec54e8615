package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/workdir/workdir/fs"
)

// The resolver and a naive one agree on every link.
func TestResolverModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tree := newTree(t)
		m := maker{t, tree}
		dirs := []string{""}
		for i := range rapid.IntRange(0, 4).Draw(rt, "dirs") {
			dir := strings.TrimPrefix(rapid.SampledFrom(dirs).Draw(rt, "in")+fmt.Sprintf("/d%d", i), "/")
			m.dir(dir)
			dirs = append(dirs, dir)
		}
		m.file("f", "")
		part := rapid.SampledFrom([]string{"..", "..", ".", "", "d0", "d1", "d2", "l0", "l1", "l2", "l3", "f", "none", strings.Repeat("n", 300)})
		links := map[string]string{}
		for i := range rapid.IntRange(1, 8).Draw(rt, "links") {
			path := strings.TrimPrefix(rapid.SampledFrom(dirs).Draw(rt, "at")+fmt.Sprintf("/l%d", i%4), "/")
			target := strings.Join(rapid.SliceOfN(part, 1, 5).Draw(rt, "target"), "/")
			if rapid.IntRange(0, 9).Draw(rt, "absolute") == 0 {
				target = "/" + target
			}
			if links[path] != "" || target == "" {
				continue
			}
			links[path] = target
			m.symlink(path, target)
		}
		r, naive := resolver{tree: tree}, naiveResolver{tree}
		for path, target := range links {
			got, err := r.escapes(t.Context(), path, target)
			if err != nil {
				t.Fatal(err)
			}
			dir, _ := fs.Split(path)
			want := strings.HasPrefix(target, "/") || climbs(dir, target)
			if !want && strings.Contains(target, "/") {
				if want, err = naive.follow(dir, target); err != nil {
					t.Fatal(err)
				}
			}
			if got != want {
				rt.Fatalf("of %q, %q to %q leads out: %v, want %v", links, path, target, got, want)
			}
		}
	})
}

// Links in deep directories, each through the next: every step of every link was
// looked up from the root, again for each link before it. An archive of 106 KB took
// minutes to commit, and could not be stopped.
func TestManyLinksInDeepDirectories(t *testing.T) {
	const depth, links = 1000, 2000
	tree := newTree(t)
	m := maker{t, tree}
	dir := strings.TrimSuffix(strings.Repeat("d/", depth), "/")
	for i := range depth {
		m.dir(dir[:2*i+1])
	}
	for i := range links {
		m.symlink(fmt.Sprintf("%s/l%d", dir, i), strings.Repeat("../d/", 400)+fmt.Sprintf("l%d", i+1))
	}
	var p *PortableError
	err := Check(t.Context(), tree, &WriterOptions{Portable: true})
	if !errors.As(err, &p) || len(p.Paths) != links-maxFollowed-1 {
		t.Errorf("Check says %v, want that all links but the last pass too many", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := resolver{tree: tree}
	cancel()
	if _, err := r.escapes(ctx, dir+"/l0", "../d/l1"); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end escapes says %v", err)
	}
	if err := Check(ctx, tree, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end Check says %v", err)
	}
}

// naiveResolver follows a target name by name, each from the root.
type naiveResolver struct {
	tree *fs.Tree
}

// follow walks target from dir, name by name.
func (r *naiveResolver) follow(dir, target string) (bool, error) {
	var at []string
	if dir != "" {
		at = strings.Split(dir, "/")
	}
	todo := strings.Split(target, "/")
	for followed := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return true, nil
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, part)
		link, ok, err := r.readlink(at)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		if followed++; followed > maxFollowed || strings.HasPrefix(link, "/") {
			return true, nil
		}
		at = at[:len(at)-1]
		todo = append(strings.Split(link, "/"), todo...)
	}
	return false, nil
}

// readlink returns the target of the link at path; ok is false if path is no link.
func (r *naiveResolver) readlink(names []string) (target string, ok bool, err error) {
	path := strings.Join(names, "/")
	n, errno := r.tree.LookupPath(r.tree.Root(), path)
	switch errno {
	case 0:
		defer r.tree.Unref(n, 1)
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG:
		return "", false, nil
	default:
		return "", false, packErr(path, errno)
	}
	if r.tree.Attr(n).Mode&syscall.S_IFMT != syscall.S_IFLNK {
		return "", false, nil
	}
	target, errno = r.tree.Readlink(n)
	return target, true, packErr(path, errno)
}
