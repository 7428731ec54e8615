package mount

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestParseMountLine(t *testing.T) {
	tests := []struct {
		name, line string
		want       mountEntry
		ok         bool
	}{
		{
			"ours", `99 30 0:57 / /run/m1 rw,nosuid,nodev,relatime shared:40 - fuse.workdir file:///a\040b rw,user_id=1000,group_id=1000`,
			mountEntry{id: 99, dev: "0:57", path: "/run/m1", fsType: "fuse.workdir", source: "file:///a b", super: "rw,user_id=1000,group_id=1000"}, true,
		},
		{
			"odd mountpoint", `99 30 0:57 / /a\040b\012c\134d rw - ext4 /dev/sda rw`,
			mountEntry{id: 99, dev: "0:57", path: "/a b\nc\\d", fsType: "ext4", source: "/dev/sda", super: "rw"}, true,
		},
		{
			"no source", `99 30 0:57 / /x rw - tmpfs  rw`,
			mountEntry{id: 99, dev: "0:57", path: "/x", fsType: "tmpfs", super: "rw"}, true,
		},
		{"no separator", `99 30 0:57 / /x rw tmpfs tmpfs rw`, mountEntry{}, false},
		{"too short", `99 30 - tmpfs tmpfs rw`, mountEntry{}, false},
		{"empty", ``, mountEntry{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := parseMountLine(tt.line); got != tt.want || ok != tt.ok {
				t.Errorf("parseMountLine = %+v, %v; want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	e, _ := parseMountLine(tests[0].line)
	if uid, ok := e.uid(); uid != 1000 || !ok {
		t.Errorf("uid = %d, %v", uid, ok)
	}
}

func TestMountOf(t *testing.T) {
	table := []mountEntry{{id: 1, path: "/"}, {id: 2, path: "/a"}, {id: 3, path: "/a/b"}, {id: 4, path: "/a"}}
	tests := []struct {
		path string
		want int
	}{
		{"/", 1}, {"/x", 1}, {"/ab", 1}, {"/a", 4}, {"/a/c", 4}, {"/a/b", 3}, {"/a/b/c", 3}, {"/a/bc", 4},
	}
	for _, tt := range tests {
		if e, ok := mountOf(table, tt.path); !ok || e.id != tt.want {
			t.Errorf("mountOf(%s) = %d, %v; want %d", tt.path, e.id, ok, tt.want)
		}
	}
}

func TestCgroupLimitFiles(t *testing.T) {
	tests := []struct {
		name, groups string
		want         []string
	}{
		{"v2", "0::/user.slice/app\n", []string{
			"/sys/fs/cgroup/user.slice/app/memory.max", "/sys/fs/cgroup/user.slice/memory.max", "/sys/fs/cgroup/memory.max",
		}},
		{"v1", "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n", []string{
			"/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
		}},
		{"hybrid without memory", "0::/\n1:name=systemd:/\n", []string{"/sys/fs/cgroup/memory.max"}},
		{"nonsense", "x\n::\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := cgroupLimitFiles(tt.groups); !slices.Equal(got, tt.want) {
				t.Errorf("files = %q, want %q", got, tt.want)
			}
		})
	}
	if memoryLimit() <= 0 {
		t.Errorf("memoryLimit = %d", memoryLimit())
	}
}

func TestKernelIsAtLeast(t *testing.T) {
	for release, want := range map[string]bool{
		"6.9.0": true, "6.18.44-fc-v669": true, "7.0-rc1": true, "6.12-amd64": true,
		"6.8.0-45-generic": false, "5.10.0": false, "6": false, "x.y": false, "": false,
	} {
		if got := kernelIsAtLeast(release, 6, 9); got != want {
			t.Errorf("kernelIsAtLeast(%q) = %v", release, got)
		}
	}
}

func TestIsInitialNamespace(t *testing.T) {
	for ids, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"         0       1000          1\n": false,
		"":                                   false,
	} {
		if got := isInitialNamespace(ids); got != want {
			t.Errorf("isInitialNamespace(%q) = %v", ids, got)
		}
	}
}

func TestWhatTheKernelSaysOfAPath(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	f.write(m, "file", "content")
	tests := []struct {
		name, path           string
		noMountpoint, onFUSE bool
	}{
		{"directory", f.dir, true, false},
		{"mountpoint", m.Path(), false, true},
		{"in a mount", m.Path("file"), true, true},
		{"another file system's", "/proc", false, false},
		{"nothing", filepath.Join(f.dir, "none"), false, true}, // who does not know must look at the table
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := isNoMountpoint(tt.path); got != tt.noMountpoint {
				t.Errorf("isNoMountpoint(%s) = %v", tt.path, got)
			}
			if got := isOnFUSE(tt.path); got != tt.onFUSE {
				t.Errorf("isOnFUSE(%s) = %v", tt.path, got)
			}
		})
	}
}
