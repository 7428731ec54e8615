package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MemoryLimit returns how much memory this process may use, in bytes: the machine's memory,
// or the tightest limit of its control groups.
func MemoryLimit() int64 {
	limit, _ := MemoryLimitFrom()
	return limit
}

// machines names the machine's memory as the source of a limit.
const machines = "the machine's"

// MemoryLimitFrom returns MemoryLimit and its source: "the machine's", or a file of a
// control group.
func MemoryLimitFrom() (limit int64, from string) {
	limit, from = machineMemory(), machines
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return limit, from
	}
	for _, file := range cgroupLimitFiles(string(b)) {
		if v, ok := readLimit(file); ok && v < limit {
			limit, from = v, file
		}
	}
	return limit, from
}

// GroupLimit returns the memory limit of this process's control groups, in bytes; 0 if they
// set none.
func GroupLimit() int64 {
	limit, from := MemoryLimitFrom()
	if from == machines {
		return 0
	}
	return limit
}

func machineMemory() int64 {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 1 << 30 // no known kernel fails here
	}
	return int64(si.Totalram) * int64(si.Unit)
}

// cgroupLimitFiles lists the files that may hold a limit for the groups in
// /proc/self/cgroup (cgroups(7)): those of the group, of its parents, and of the root of
// the hierarchy, which in a container is the container's group.
func cgroupLimitFiles(groups string) []string {
	var files []string
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			files = append(files, limitFiles("/sys/fs/cgroup", parts[2], "memory.max")...)
		case strings.Contains(","+parts[1]+",", ",memory,"):
			files = append(files, limitFiles("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")...)
		}
	}
	return files
}

func limitFiles(root, group, name string) []string {
	var files []string
	for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
		files = append(files, filepath.Join(root, dir, name))
		if dir == "/" {
			return files
		}
	}
}

func readLimit(file string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is not a number, and no limit
	return v, err == nil && v > 0
}
