// Package hostcheck reports what a host allows, as far as that can be found out without a
// mount: devices, programs, limits, the clock, the run directory.
package hostcheck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
)

// Run reports each check as it is done. It returns where a mount can be tried: the run
// directory or, if that does not exist yet, the directory that will contain it; "" if there
// is no such directory.
func Run(runDir string, report func(doctor.Check)) (place string) {
	for _, check := range []func() doctor.Check{
		checkKernel, checkDevice, checkHelper, checkFuseConf, checkMemory, checkContent, checkDescriptors, checkClock,
	} {
		report(check())
	}
	place, c := checkRunDir(runDir)
	report(c)
	return place
}

// Result is OK with detail, or the meaning of err.
func Result(name, detail string, err error) doctor.Check {
	if err == nil {
		return doctor.Check{Name: name, Status: doctor.OK, Detail: detail}
	}
	c := doctor.Check{Name: name, Status: doctor.Fail, Detail: err.Error()}
	var lack *host.Error
	if errors.As(err, &lack) {
		c.Detail, c.Fix = lack.What, lack.Hint
		if lack.Path != "" {
			c.Detail = lack.Path + ": " + lack.What
		}
	}
	return c
}

// Warning is a check that passes, but not well.
func Warning(name, detail, fix string) doctor.Check {
	return doctor.Check{Name: name, Status: doctor.Warn, Detail: detail, Fix: fix}
}

// kernelFeatures are features of FUSE with the version of Linux that brought them. All are
// negotiated, none is required.
var kernelFeatures = []struct {
	name         string
	major, minor int
}{
	{"O_TMPFILE", 6, 2}, {"birth times", 6, 6},
}

func checkKernel() doctor.Check {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Result("kernel", "", err)
	}
	return kernelCheck(unix.ByteSliceToString(u.Release[:]))
}

func kernelCheck(release string) doctor.Check {
	var has, lacks []string
	newest := ""
	for _, f := range kernelFeatures {
		if host.KernelIsAtLeast(release, f.major, f.minor) {
			has = append(has, f.name)
			continue
		}
		lacks = append(lacks, f.name)
		newest = fmt.Sprintf("%d.%d", f.major, f.minor)
	}
	detail := "Linux " + release
	if len(has) > 0 {
		detail += ", whose FUSE has " + strings.Join(has, ", ")
	}
	if len(lacks) == 0 {
		return Result("kernel", detail+"; io_uring for FUSE is "+uringState(release), nil)
	}
	return Warning("kernel", detail+", but not "+strings.Join(lacks, ", "), "Linux "+newest+" has all of it; everything works without")
}

// uringState says whether the kernel lets FUSE servers use io_uring (Linux 6.14, parameter
// enable_uring of the module fuse).
func uringState(release string) string {
	b, err := os.ReadFile("/sys/module/fuse/parameters/enable_uring")
	switch {
	case !host.KernelIsAtLeast(release, 6, 14) || err != nil:
		return "not there"
	case strings.TrimSpace(string(b)) == "Y":
		return "on"
	}
	return "off"
}

func checkDevice() doctor.Check {
	const name = "/dev/fuse"
	fd, err := host.OpenFuse("")
	if err != nil {
		return Result(name, "", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Result(name, "", err)
	}
	detail := fmt.Sprintf("can be opened; mode %04o", st.Mode&0o777)
	if st.Mode&0o066 != 0o066 {
		return Warning(name, detail+": not by all users", "chmod 0666 /dev/fuse, if ordinary users are to mount")
	}
	return Result(name, detail, nil)
}

// checkHelper checks fusermount3, by which ordinary users mount.
func checkHelper() doctor.Check {
	const name = "fusermount3"
	path, err := host.Fusermount()
	isRoot := os.Geteuid() == 0
	switch {
	case err != nil && isRoot:
		return doctor.Check{Name: name, Status: doctor.Skip, Detail: "not installed; root needs none", Fix: "for other users: apt-get install fuse3"}
	case err != nil:
		return Result(name, "", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Result(name, "", err)
	}
	setuid := st.Mode&unix.S_ISUID != 0 && st.Uid == 0
	switch hint := host.HelperHint(); {
	case isRoot && !setuid:
		return Warning(name, path+" is not setuid root: only root can mount", "chown root "+path+" && chmod u+s "+path+", if ordinary users are to mount")
	case isRoot:
		return Result(name, path+", setuid root", nil)
	case !setuid:
		return Result(name, "", &host.Error{What: path + " is not setuid root", Hint: "as root: chown root " + path + " && chmod u+s " + path + "; or start this in a user namespace (unshare -Urm)"})
	case hint != "":
		return Warning(name, path+", setuid root, but it may be refused", hint)
	}
	return Result(name, path+", setuid root", nil)
}

func checkFuseConf() doctor.Check {
	const name, conf = "fuse.conf", "/etc/fuse.conf"
	switch {
	case host.AllowsOthers(conf):
		return Result(name, "user_allow_other: users can let others into their mounts", nil)
	case os.Geteuid() == 0:
		return Result(name, "no user_allow_other, which root does not need", nil)
	}
	return Warning(name, "no user_allow_other: --allow-other is for root only", "root can allow it by a line user_allow_other in "+conf)
}

// leastMemory is the budget, in bytes, below which few workspaces fit.
const leastMemory = 64 << 20

func checkMemory() doctor.Check {
	limit, from := host.MemoryLimitFrom()
	budget := limit / 2
	detail := fmt.Sprintf("%d MiB (%s); all mounts of a server together may take half of it", limit>>20, from)
	if budget < leastMemory {
		return Warning("memory", detail, "give it more memory, or mount with --spill DIR on a disk")
	}
	return Result("memory", detail, nil)
}

// checkContent reports where the content of workspaces is kept.
func checkContent() doctor.Check {
	const name = "content"
	switch tmpfs, err := serve.TryHome(); {
	case err != nil:
		return Result(name, "", err)
	case tmpfs:
		return Result(name, "in a tmpfs of the server's own, whose limit the kernel keeps", nil)
	}
	return Result(name, "in anonymous memory: a tmpfs of its own needs CAP_SYS_ADMIN", nil)
}

// leastDescriptors is how many descriptors a server with some mounts needs: the files that
// hold content (fs keeps 512 open), and a few for each mount.
const leastDescriptors = 1024

func checkDescriptors() doctor.Check {
	const name = "descriptors"
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return Result(name, "", err)
	}
	detail := fmt.Sprintf("a process may have %d files open", lim.Max)
	if lim.Max < leastDescriptors {
		return Warning(name, detail, fmt.Sprintf("raise the hard limit of open files to %d or more (ulimit -Hn)", leastDescriptors))
	}
	return Result(name, detail, nil)
}

// checkClock asks the kernel whether the clock is synchronized.
func checkClock() doctor.Check {
	const name = "host clock"
	now := time.Now().UTC().Format(time.RFC3339)
	var tx unix.Timex // no modes: it only asks
	if _, err := unix.Adjtimex(&tx); err != nil {
		return doctor.Check{Name: name, Status: doctor.Skip, Detail: now + "; the kernel does not say whether it is set by NTP: " + err.Error()}
	}
	if tx.Status&unix.STA_UNSYNC != 0 {
		return Warning(name, now+", not set by NTP: clouds refuse requests from 15 minutes off on", "run an NTP client (systemd-timesyncd, chrony), unless the machine beneath sets the clock")
	}
	return Result(name, now+", set by NTP", nil)
}

// checkRunDir checks the run directory. See Run for the place that it returns.
func checkRunDir(dir string) (place string, c doctor.Check) {
	const name = "run directory"
	if dir == "" {
		dir = host.DefaultRunDir()
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", Result(name, "", err)
	}
	if _, err := os.Lstat(abs); err == nil {
		real, err := host.EnsureRunDir(abs)
		return real, Result(name, real+" is private", err)
	}
	for place = filepath.Dir(abs); ; place = filepath.Dir(place) {
		_, err := os.Lstat(place)
		if err == nil || place == "/" {
			break
		}
	}
	if err := unix.Access(place, unix.W_OK|unix.X_OK); err != nil {
		return "", Result(name, "", &host.Error{Path: abs, What: "cannot be made in " + place + ": " + err.Error(), Hint: "choose another run directory (--run-dir)"})
	}
	if err := host.RefuseOwnMount(place, "the run directory"); err != nil {
		return "", Result(name, "", err)
	}
	return place, Result(name, abs+" will be made by the first mount", nil)
}
