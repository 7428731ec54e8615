package testenv

import (
	"os"
	"os/signal"
	"syscall"
)

// HearSignals makes this process receive the signals that it was started to ignore, as under
// nohup, since its child processes would ignore them too.
func HearSignals() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}
