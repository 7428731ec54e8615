package deptest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the directory of the module.
const root = "../.."

// source is one Go file and what it imports.
type source struct {
	file    string
	pkg     string // relative to the module
	test    bool
	imports []string
}

func readSources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(p, d)
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s := source{file: rel, pkg: path.Dir(filepath.ToSlash(rel)), test: strings.HasSuffix(p, "_test.go")}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// skipDir leaves out hidden directories, data, and modules of their own.
func skipDir(p string, d fs.DirEntry) error {
	name := d.Name()
	if p == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "build" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// allowed reports whether a file may import a package.
func allowed(s source, name string) bool {
	if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	if strings.HasPrefix(name, "golang.org/x/sys/") {
		return true
	}
	r := table[s.pkg]
	if ours, ok := strings.CutPrefix(name, module+"/"); ok {
		return ours == s.pkg || matches(ours, r.ours) || s.test && matches(ours, r.tests)
	}
	if s.test && hasPrefix(name, testsMay) {
		return true
	}
	return hasPrefix(name, r.foreign)
}

func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		dir, all := strings.CutSuffix(p, "/...")
		if name == p || all && strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if name == p || strings.HasPrefix(name, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	sources := readSources(t)
	if len(sources) < 20 {
		t.Fatalf("found %d Go files under %s, which cannot be all", len(sources), root)
	}
	for _, s := range sources {
		if _, ok := table[s.pkg]; !ok {
			t.Errorf("%s: package %s is not in the table", s.file, s.pkg)
			continue
		}
		for _, name := range s.imports {
			if !allowed(s, name) {
				t.Errorf("%s: package %s may not import %s", s.file, s.pkg, name)
			}
		}
	}
}

// names returns what a file uses of a package, by its selectors.
func names(t *testing.T, file, imported string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	local := ""
	for _, i := range f.Imports {
		if i.Path.Value != strconv.Quote(imported) {
			continue
		}
		if local = path.Base(imported); i.Name != nil {
			local = i.Name.Name
		}
	}
	var used []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				used = append(used, s.Sel.Name)
			}
		}
		return true
	})
	return used
}

func TestNames(t *testing.T) {
	used := map[string]bool{}
	for _, s := range readSources(t) {
		if s.test {
			continue
		}
		for pkg, may := range table[s.pkg].names {
			for _, name := range names(t, s.file, module+"/"+pkg) {
				used[s.pkg+" "+pkg+" "+name] = true
				if !slices.Contains(may, name) {
					t.Errorf("%s: package %s may not use %s of %s", s.file, s.pkg, name, pkg)
				}
			}
		}
	}
	for pkg, r := range table {
		for of, may := range r.names {
			for _, name := range may {
				if !used[pkg+" "+of+" "+name] {
					t.Errorf("package %s does not use %s of %s any more", pkg, name, of)
				}
			}
		}
	}
}

// The server has no mark: whether a mount is stored it is told, in a wire.Decision, which
// it never makes itself.
func TestServerDecidesNothing(t *testing.T) {
	const server, decision = "mount/internal/serve", "wire.Decision{"
	files := 0
	for _, s := range readSources(t) {
		if s.pkg != server || s.test {
			continue
		}
		files++
		b, err := os.ReadFile(filepath.Join(root, s.file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), decision) {
			t.Errorf("%s makes a %s…}", s.file, decision)
		}
	}
	if files == 0 {
		t.Errorf("%s has no files", server)
	}
}

// TestTableHasNoCycle sees to it that the arrows of the table point down only.
func TestTableHasNoCycle(t *testing.T) {
	const (
		visiting = 1
		done     = 2
	)
	state := map[string]int{}
	var visit func(pkg string, trail []string)
	visit = func(pkg string, trail []string) {
		trail = append(trail, pkg)
		switch state[pkg] {
		case visiting:
			t.Errorf("cycle: %s", strings.Join(trail, " -> "))
			return
		case done:
			return
		}
		state[pkg] = visiting
		for _, below := range table[pkg].ours {
			if !strings.HasSuffix(below, "/...") {
				visit(below, trail)
			}
		}
		state[pkg] = done
	}
	for pkg := range table {
		visit(pkg, nil)
	}
}

// A program that links the driver of one cloud links no SDK of another.
func TestOneCloudBringsNoOther(t *testing.T) {
	sdks := map[string]string{"s3": "github.com/aws/", "gs": "cloud.google.com/go/", "azure": "github.com/Azure/"}
	reach := func(from, sdk string) bool {
		seen := map[string]bool{}
		var visit func(pkg string) bool
		visit = func(pkg string) bool {
			if seen[pkg] {
				return false
			}
			seen[pkg] = true
			return slices.ContainsFunc(table[pkg].foreign, func(f string) bool { return strings.HasPrefix(f, sdk) }) ||
				slices.ContainsFunc(table[pkg].ours, visit)
		}
		return visit(from)
	}
	for driver := range sdks {
		for cloud, sdk := range sdks {
			if got := reach("store/drivers/"+driver, sdk); got != (cloud == driver) {
				t.Errorf("driver %s may link the SDK of %s: %v", driver, cloud, got)
			}
		}
	}
	for _, pkg := range []string{"store", "mount", "activity"} {
		for cloud, sdk := range sdks {
			if reach(pkg, sdk) {
				t.Errorf("package %s may link the SDK of %s", pkg, cloud)
			}
		}
	}
}

func TestAllowed(t *testing.T) {
	tests := []struct {
		name string
		s    source
		imp  string
		want bool
	}{
		{"standard library", source{pkg: "fs"}, "os/exec", true},
		{"tree knows no FUSE", source{pkg: "fs"}, "github.com/hanwen/go-fuse/v2/fuse", false},
		{"archive knows no store", source{pkg: "archive"}, module + "/store", false},
		{"mount knows no Temporal", source{pkg: "mount"}, "go.temporal.io/sdk/activity", false},
		{"adapter knows the tree", source{pkg: "fs/fusefs"}, module + "/fs", true},
		{"test library in a test", source{pkg: "fs", test: true}, "pgregory.net/rapid", true},
		{"test library elsewhere", source{pkg: "fs"}, "pgregory.net/rapid", false},
		{"name that only begins alike", source{pkg: "archive"}, "github.com/klauspost/pgzipper", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := allowed(tt.s, tt.imp); got != tt.want {
				t.Errorf("allowed(%s, %s) = %v, want %v", tt.s.pkg, tt.imp, got, tt.want)
			}
		})
	}
}
