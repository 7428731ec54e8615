package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// watcher follows processes that are not our children until they end, since
// nobody tells us then what they have used. What it misses is their last
// milliseconds.
type watcher struct {
	stop, done chan struct{}
	first      map[int]usage
	last       map[int]usage
}

// watch starts to follow processes.
func watch(pids ...int) *watcher {
	w := &watcher{stop: make(chan struct{}), done: make(chan struct{}), first: map[int]usage{}, last: map[int]usage{}}
	w.look(pids)
	for pid, u := range w.last {
		w.first[pid] = u
	}
	go w.run(pids)
	return w
}

func (w *watcher) run(pids []int) {
	defer close(w.done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			w.look(pids)
			return
		case <-tick.C:
			w.look(pids)
		}
	}
}

func (w *watcher) look(pids []int) {
	for _, pid := range pids {
		if u, err := processUsage(pid); err == nil { // else it has ended
			w.last[pid] = u
		}
	}
}

// end returns what the processes used since watch: their processor time since then,
// and their peak of memory over their whole life.
func (w *watcher) end() usage {
	close(w.stop)
	<-w.done
	var sum usage
	for pid, u := range w.last {
		u.processor -= w.first[pid].processor
		sum = sum.plus(u)
	}
	return sum
}

// ticksPerSecond is USER_HZ, which Linux has as 100 on every architecture that Go
// runs on.
const ticksPerSecond = 100

// processUsage reads what a living process has used, see proc(5).
func processUsage(pid int) (usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return usage{}, err
	}
	processor, err := statTime(string(stat))
	if err != nil {
		return usage{}, err
	}
	memory, err := statusBytes(string(status), "VmHWM")
	return usage{processor: processor, memory: memory}, err
}

// statTime returns the processor seconds of /proc/PID/stat: fields 14 and 15.
func statTime(stat string) (float64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from field 3 on
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat %q: too short", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return float64(user+system) / ticksPerSecond, err
}

// statusBytes returns a size of /proc/PID/status, such as VmHWM, in bytes.
func statusBytes(status, key string) (int64, error) {
	_, rest, ok := strings.Cut(status, key+":")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 { // a process that ends has no memory any more
		return 0, fmt.Errorf("status: no %s", key)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10, err
}
