package host

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// KernelIsAtLeast compares a kernel release such as "6.12.3-amd64".
func KernelIsAtLeast(release string, major, minor int) bool {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	digits := strings.IndexFunc(parts[1]+".", func(r rune) bool { return r < '0' || r > '9' })
	b, err2 := strconv.Atoi(parts[1][:digits])
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}

// IsInitialNamespace reports whether a /proc/PID/uid_map is that of the initial user
// namespace, which maps every number to itself (user_namespaces(7)).
func IsInitialNamespace(uidMap string) bool {
	return strings.Join(strings.Fields(uidMap), " ") == "0 0 4294967295"
}

// HasSysAdmin reports whether CAP_SYS_ADMIN is effective, capget(2).
func HasSysAdmin() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&head, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
