// Package browser starts a headless Chromium, as an ordinary user in its own sandbox, and
// hears what a page says of its faults.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// programs are the names that Chromium goes by.
var programs = []string{"chromium", "google-chrome", "chromium-browser"}

// nobody is the user that Chromium runs as where the caller is root, whom its sandbox
// refuses.
const nobody = 65534

// Browser is one window. Ctx is for the actions of package chromedp.
type Browser struct {
	Ctx   context.Context
	close []func()

	mu     sync.Mutex
	faults []string // guarded by mu
	asked  []string // guarded by mu; URLs
}

// Start starts Chromium with a window of a size. ctx ends it, as Close does.
func Start(ctx context.Context, width, height int) (_ *Browser, err error) {
	b := &Browser{}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	program, err := find()
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, err
	}
	b.close = append(b.close, func() { _ = os.RemoveAll(profile) }) // Chromium's processes may write until they end
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.WindowSize(width, height),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("no-sandbox", false), // which chromedp sets where the caller is root
	)
	options = append(options, chromedp.Env("HOME="+profile, "TMPDIR="+profile)) // so that nothing is left
	if os.Geteuid() == 0 {
		if err := os.Chown(profile, nobody, nobody); err != nil {
			return nil, err
		}
		options = append(options, chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Setpgid: true, Pdeathsig: syscall.SIGKILL}
			cmd.Dir = "/"
		}))
	}
	alloc, stop := chromedp.NewExecAllocator(ctx, options...)
	b.close = append(b.close, stop)
	b.Ctx, stop = chromedp.NewContext(alloc)
	b.close = append(b.close, stop, func() { _ = chromedp.Cancel(b.Ctx) }) // which waits for its end
	chromedp.ListenTarget(b.Ctx, b.hear)
	if err := chromedp.Run(b.Ctx, log.Enable(), network.Enable(), runtime.Enable(), page.Enable()); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return b, nil
}

func find() (string, error) {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is installed; scripts/deps.sh test installs it")
}

// Close ends Chromium.
func (b *Browser) Close() {
	for i := len(b.close) - 1; i >= 0; i-- {
		b.close[i]()
	}
}

// hear records the errors of a page: exceptions, console messages, violations of the content
// security policy, dialogs; and all that it asks for.
func (b *Browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, "exception: "+e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		b.faults = append(b.faults, fmt.Sprintf("console.%s: %s", e.Type, values(e.Args)))
	case *log.EventEntryAdded:
		b.faults = append(b.faults, fmt.Sprintf("%s %s: %s", e.Entry.Source, e.Entry.Level, e.Entry.Text))
	case *page.EventJavascriptDialogOpening:
		b.faults = append(b.faults, fmt.Sprintf("dialog %s: %s", e.Type, e.Message))
		go func() { _ = chromedp.Run(b.Ctx, page.HandleJavaScriptDialog(false)) }() // else the page waits for ever
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	}
}

func values(args []*runtime.RemoteObject) (text string) {
	for _, a := range args {
		text += string(a.Value) + " "
	}
	return text
}

// Heard returns what was wrong, and what was asked for, since it was called last.
func (b *Browser) Heard() (faults, asked []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults, asked, b.faults, b.asked = b.faults, b.asked, nil, nil
	return faults, asked
}

// Prefer makes pages dark or light.
func (b *Browser) Prefer(scheme string) error {
	return chromedp.Run(b.Ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}
