package host

import (
	"os"
	"slices"
	"testing"
)

func TestParseMountLine(t *testing.T) {
	tests := []struct {
		name, line string
		want       MountEntry
		ok         bool
	}{
		{
			"ours", `99 30 0:57 / /run/m1 rw,nosuid,nodev,relatime shared:40 - fuse.workdir file:///a\040b rw,user_id=1000,group_id=1000`,
			MountEntry{id: 99, parent: 30, Dev: "0:57", Path: "/run/m1", fsType: "fuse.workdir", Source: "file:///a b", super: "rw,user_id=1000,group_id=1000"}, true,
		},
		{
			"odd mountpoint", `99 30 0:57 / /a\040b\012c\134d rw master:7 - ext4 /dev/sda rw`,
			MountEntry{id: 99, parent: 30, slave: true, Dev: "0:57", Path: "/a b\nc\\d", fsType: "ext4", Source: "/dev/sda", super: "rw"}, true,
		},
		{
			"no source", `99 30 0:57 / /x rw - tmpfs  rw`,
			MountEntry{id: 99, parent: 30, Dev: "0:57", Path: "/x", fsType: "tmpfs", super: "rw"}, true,
		},
		{"no separator", `99 30 0:57 / /x rw tmpfs tmpfs rw`, MountEntry{}, false},
		{"too short", `99 30 - tmpfs tmpfs rw`, MountEntry{}, false},
		{"empty", ``, MountEntry{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := parseMountLine(tt.line); got != tt.want || ok != tt.ok {
				t.Errorf("parseMountLine = %+v, %v; want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	e, _ := parseMountLine(tests[0].line)
	if uid, ok := e.UID(); uid != 1000 || !ok {
		t.Errorf("uid = %d, %v", uid, ok)
	}
}

func TestMountOf(t *testing.T) {
	table := []MountEntry{{id: 1, Path: "/"}, {id: 2, Path: "/a"}, {id: 3, Path: "/a/b"}, {id: 4, Path: "/a"}}
	tests := []struct {
		path string
		want int
	}{
		{"/", 1}, {"/x", 1}, {"/ab", 1}, {"/a", 4}, {"/a/c", 4}, {"/a/b", 3}, {"/a/b/c", 3}, {"/a/bc", 4},
	}
	for _, tt := range tests {
		if e, ok := MountOf(table, tt.path); !ok || e.id != tt.want {
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
	if MemoryLimit() <= 0 {
		t.Errorf("memoryLimit = %d", MemoryLimit())
	}
}

func TestKernelIsAtLeast(t *testing.T) {
	for release, want := range map[string]bool{
		"6.9.0": true, "6.18.44-fc-v669": true, "7.0-rc1": true, "6.12-amd64": true,
		"6.8.0-45-generic": false, "5.10.0": false, "6": false, "x.y": false, "": false,
	} {
		if got := KernelIsAtLeast(release, 6, 9); got != want {
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
		if got := IsInitialNamespace(ids); got != want {
			t.Errorf("isInitialNamespace(%q) = %v", ids, got)
		}
	}
}

func TestMemoryLimitFrom(t *testing.T) {
	limit, from := MemoryLimitFrom()
	if limit != MemoryLimit() || limit <= 0 {
		t.Errorf("limit %d", limit)
	}
	if _, err := os.Stat(from); from != "the machine's" && err != nil {
		t.Errorf("from %q: %v", from, err)
	}
}
