package integration

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/integration/internal/proc"
	"github.com/workdir/workdir/internal/testenv"
)

// The kill test takes its seed and its number of kills from the environment, so
// that a failure can be met again and a night can be spent on it.
const (
	seedVariable  = "WORKDIR_INTEGRATION_SEED"
	killsVariable = "WORKDIR_INTEGRATION_KILLS"
	defaultKills  = 120
)

// Who is killed, and in what order.
var targets = [][]string{{"client"}, {"server"}, {"client", "server"}, {"server", "client"}}

// killPhases are drawn with their weight: a commit is short and matters most.
var killPhases = []string{
	phaseOpening, phaseWriting, phaseWriting,
	phaseClosing, phaseClosing, phaseClosing, phaseClosing,
	phaseConfirming, phaseConfirming,
}

// Whatever is killed at whatever instant, a workspace is its old generation or
// the new one, whole, what Close has said is true, and the next Open leaves
// nothing behind.
func TestKills(t *testing.T) {
	seed := testenv.Number(t, seedVariable, int(time.Now().UnixNano()&0xffffffff))
	kills := testenv.Number(t, killsVariable, defaultKills)
	t.Logf("%s=%d %s=%d", seedVariable, seed, killsVariable, kills)
	for mounts := 1; mounts <= 3; mounts += 2 {
		t.Run(fmt.Sprintf("%d mounts", mounts), func(t *testing.T) {
			k := newKiller(t, mounts, rand.New(rand.NewPCG(uint64(seed), uint64(mounts))))
			k.calibrate()
			for k.hits < (kills+1)/2 {
				k.round()
			}
			t.Log(k.summary())
		})
	}
}

// killer runs workloads and kills them.
type killer struct {
	*env
	rand  *rand.Rand
	urls  []string
	files []string // the archives
	dirs  []string // mountpoints of our own
	now   []int    // generations of the workspaces
	next  int      // generation that the next workload makes
	took  map[string]time.Duration
	hits  int            // kills that met a living process
	fates map[string]int // how often what had which end
}

func newKiller(t *testing.T, mounts int, r *rand.Rand) *killer {
	k := &killer{env: newEnv(t), rand: r, now: make([]int, mounts), next: 1, took: map[string]time.Duration{}, fates: map[string]int{}}
	for i := range mounts {
		key := fmt.Sprintf("job-%d", i)
		k.urls = append(k.urls, k.url(key))
		k.files = append(k.files, k.archive(key))
		k.dirs = append(k.dirs, k.mkdir("mnt", key))
	}
	return k
}

// calibrate runs a workload without killing it, twice since the first one finds no archives,
// and learns how long its phases take.
func (k *killer) calibrate() {
	k.t.Helper()
	for range 2 {
		w := k.start(false)
		seen := map[string]time.Time{}
		w.onPhase = func(phase string) {
			if _, again := seen[phase]; !again {
				seen[phase] = time.Now()
			}
		}
		w.finish()
		phases := []string{phaseOpening, phaseWriting, phaseClosing, phaseConfirming, phaseEnding}
		for i, phase := range phases[1:] {
			k.took[phases[i]] = seen[phase].Sub(seen[phases[i]])
		}
		k.settle("nobody was killed", w)
		if slices.ContainsFunc(k.now, func(n int) bool { return n != k.next-1 }) {
			k.t.Fatalf("generations %v after a workload that nobody killed; it said %q", k.now, w.lines)
		}
	}
}

// round kills one workload and checks what is left.
func (k *killer) round() {
	k.t.Helper()
	phase := killPhases[k.rand.IntN(len(killPhases))]
	target := targets[k.rand.IntN(len(targets))]
	// Cubed, so that the beginning of a phase is met as well: the unmount, for one.
	at := k.rand.Float64()
	if k.rand.IntN(2) == 0 {
		at = at * at * at
	}
	delay := time.Duration(at * 1.2 * float64(k.took[phase]))
	own := k.rand.IntN(2) == 0
	what := fmt.Sprintf("generation %d, own mountpoints %v: %v killed %v after the start of %s", k.next, own, target, delay, phase)

	w := k.start(own)
	w.onPhase = func(p string) {
		if p == phase && !w.killed {
			w.killed = true
			w.kill(target, delay)
		}
	}
	w.finish()
	if w.hit {
		k.hits++
	}
	k.checkClientCleaned(what, w, target)
	if k.rand.IntN(2) == 0 {
		k.verify(what, w) // at once, while a server may still be ending
	}
	before := slices.Clone(k.now)
	k.settle(what, w)
	k.count(phase, target, before)
}

// checkClientCleaned: a client that lives on leaves nothing of its dead server,
// without waiting for the next Open.
func (k *killer) checkClientCleaned(what string, w *running, target []string) {
	k.t.Helper()
	if !slices.Equal(target, []string{"server"}) {
		return
	}
	if left := k.mounts(); len(left) > 0 {
		k.t.Fatalf("%s: its client left mounted: %v; it said %q", what, left, w.lines)
	}
}

// settle waits until every process has ended, opens the workspaces, and holds
// what is there against what may be there.
func (k *killer) settle(what string, w *running) {
	k.t.Helper()
	if !eventually(func() bool { return len(k.processes()) == 0 }) {
		for _, pid := range k.processes() {
			k.t.Errorf("%s: left running: %d: %s", what, pid, proc.CommandLine(pid))
		}
		k.t.FailNow()
	}
	got := k.verify(what, w)
	for i, file := range k.files {
		s, err := readArchive(file)
		n := -1
		if err == nil {
			n, err = s.number()
		}
		if err != nil || n != got[i] {
			k.t.Fatalf("%s: archive %d holds generation %d, %v; a mount of it shows %d", what, i, n, err, got[i])
		}
		if said := w.answers[i]; said == answerStored && n != k.next || said == answerNothing && n != k.now[i] {
			k.t.Fatalf("%s: workspace %d is generation %d, was %d, and Close said %q; all it said: %q", what, i, n, k.now[i], said, w.lines)
		}
	}
	k.checkNothingLeft()
	for _, dir := range k.dirs {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			k.t.Errorf("%s: mountpoint %s: %v, %v; want it empty", what, dir, entries, err)
		}
	}
	if k.t.Failed() {
		k.t.Fatalf("%s: the above is left; the workload said %q", what, w.lines)
	}
	k.now = got
	k.next++
}

// verify opens the workspaces and gives their generations, each of them the old
// one or the new one.
func (k *killer) verify(what string, w *running) []int {
	k.t.Helper()
	cmd := k.role("verify", urlsVariable+"="+strings.Join(k.urls, " "), runDirVariable+"="+k.runDir)
	stdout, stderr, code := run(k.t, cmd)
	if code != 0 {
		k.t.Fatalf("%s: the next open: %s; the workload said %q", what, stderr, w.lines)
	}
	got := make([]int, 0, len(k.urls))
	for i, line := range strings.Fields(stdout) {
		n, err := strconv.Atoi(line)
		if err != nil || n != k.now[i] && n != k.next {
			k.t.Fatalf("%s: workspace %d is generation %q, want %d or %d; the workload said %q", what, i, line, k.now[i], k.next, w.lines)
		}
		got = append(got, n)
	}
	if len(got) != len(k.urls) {
		k.t.Fatalf("%s: verify printed %q", what, stdout)
	}
	return got
}

func (k *killer) count(phase string, target []string, before []int) {
	for i, n := range k.now {
		fate := "old"
		if n != before[i] {
			fate = "new"
		}
		k.fates[fmt.Sprintf("%-10s %-15s %s", phase, strings.Join(target, "+"), fate)]++
	}
}

func (k *killer) summary() string {
	lines := []string{fmt.Sprintf("%d kills met a living process", k.hits)}
	for fate, n := range k.fates {
		lines = append(lines, fmt.Sprintf("%s %4d", fate, n))
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}

// running is a workload under way.
type running struct {
	k       *killer
	cmd     *exec.Cmd
	out     *bufio.Scanner
	onPhase func(string)
	lines   []string       // what it said
	server  int            // its process; 0: not known yet
	answers map[int]string // of Close, by workspace
	killed  bool
	hit     bool // a process that was to be killed was alive
}

func (k *killer) start(own bool) *running {
	k.t.Helper()
	vars := []string{
		urlsVariable + "=" + strings.Join(k.urls, " "),
		runDirVariable + "=" + k.runDir,
		generationVariable + "=" + strconv.Itoa(k.next),
	}
	if own {
		vars = append(vars, dirsVariable+"="+strings.Join(k.dirs, " "))
	}
	w := &running{k: k, cmd: k.role("workload", vars...), answers: map[int]string{}}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	w.cmd.Stderr = os.Stderr
	w.out = bufio.NewScanner(stdout)
	w.out.Buffer(nil, 1<<20)
	if err := w.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return w
}

// finish follows the workload to its end.
func (w *running) finish() {
	for w.out.Scan() {
		line := w.out.Text()
		w.lines = append(w.lines, line)
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "server":
			w.server, _ = strconv.Atoi(fields[1]) // a number that we printed
		case len(fields) == 2 && fields[0] == "phase":
			w.onPhase(fields[1])
		case len(fields) > 2 && fields[0] == "closed":
			i, _ := strconv.Atoi(fields[1]) // likewise
			w.answers[i] = fields[2]
		}
	}
	_ = w.cmd.Wait() // killed, mostly
}

// kill kills the target's processes, one after the other, after a delay, and
// waits until they are gone with all that they held.
func (w *running) kill(target []string, delay time.Duration) {
	w.k.t.Helper()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	var fds []int
	if w.server != 0 {
		fds = w.pidfds(target) // before the delay: a number can be given to another process
	}
	<-timer.C
	if w.server == 0 {
		w.server = w.findServer()
		fds = w.pidfds(target)
	}
	for _, fd := range fds {
		if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			w.hit = true
		}
	}
	for _, fd := range fds {
		if err := proc.AwaitExit(fd); err != nil {
			w.k.t.Fatal(err)
		}
		unix.Close(fd)
	}
}

// pidfds returns descriptors of the processes that are there to be killed.
func (w *running) pidfds(target []string) []int {
	var fds []int
	for _, who := range target {
		pid := w.cmd.Process.Pid
		if who == "server" {
			pid = w.server
		}
		if pid == 0 {
			continue
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// findServer finds the server of a client that has not said which it is. 0 where
// it has none yet.
func (w *running) findServer() int {
	for _, pid := range w.k.processes() {
		if name, _, _ := strings.Cut(proc.CommandLine(pid), " "); filepath.Base(name) == "workdir-server" {
			return pid
		}
	}
	return 0
}
