package browser_test

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/workdir/workdir/ui"
)

//go:embed audit.js
var audit string

// TestPages goes through all pages that others lead to, dark and wide, light and narrow: nothing in names or
// contents runs, nothing is asked of elsewhere, all can be read, and all has a name for those
// who listen.
func TestPages(t *testing.T) {
	s := newSite(t)
	s.write(s.live, map[string]string{"made" + hostile: "12345"})
	views := map[string]bool{}
	for _, url := range s.lookFrom(s.base+"/", s.base+"/mounts") {
		views[regexp.MustCompile(`^[^?]*`).FindString(strings.TrimPrefix(url, s.base))] = true
	}
	for _, view := range []string{"/", "/workspace", "/tree", "/file", "/diff", "/workflow", "/mounts", "/mount"} {
		if !views[view] {
			t.Errorf("no page leads to %s", view)
		}
	}
}

// TestKeptPages is TestPages for those that are written as files.
func TestKeptPages(t *testing.T) {
	s := newSite(t)
	dir, err := os.MkdirTemp("", "pages") // which Chromium's user can enter
	s.must(err)
	t.Cleanup(func() { s.must(os.RemoveAll(dir)) })
	s.must(os.Chmod(dir, 0o755))
	s.must(ui.WriteStatic(t.Context(), "file://"+s.dir, filepath.Join(dir, "pages"), nil))
	s.base = "file://" + dir + "/pages"
	if n := len(s.lookFrom(s.base + "/index.html")); n < 20 {
		t.Errorf("the first leads to %d", n)
	}
}

// lookFrom looks at pages and at all that they lead to, and returns these.
func (s *site) lookFrom(todo ...string) (all []string) {
	s.Helper()
	seen := map[string]bool{}
	for ; len(todo) > 0; todo = todo[1:] {
		if seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		all = append(all, todo[0])
		todo = append(todo, s.look(todo[0])...)
	}
	s.Logf("%d pages", len(all))
	return all
}

// look looks at a page, and returns where it leads to.
func (s *site) look(url string) (links []string) {
	s.Helper()
	for scheme, width := range map[string]int64{"dark": 1100, "light": 360} { // 360 is a telephone's
		s.must(s.Prefer(scheme))
		s.run(chromedp.EmulateViewport(width, 700))
		s.Heard()
		var wrong []string
		s.run(chromedp.Navigate(url), chromedp.WaitReady("main"), chromedp.Evaluate("("+audit+")('"+scheme+"')", &wrong))
		faults, asked := s.Heard()
		for _, text := range slices.Concat(wrong, faults) {
			s.Errorf("%s, %s: %s", url, scheme, text)
		}
		for _, to := range asked {
			if !strings.HasPrefix(to, s.base+"/") {
				s.Errorf("%s asks for %s", url, to)
			}
		}
	}
	s.names(url)
	s.run(chromedp.Evaluate(`[...document.querySelectorAll("a[href]:not([download])")].map(a => a.href).filter(a => a.startsWith("`+s.base+`/") && !a.includes("#") && !/[/]raw[?-]/.test(a))`, &links))
	return links
}

// named are the roles that say nothing without a name.
var named = []string{"RootWebArea", "link", "button", "image", "region", "navigation", "heading"}

// names looks whether what has no text of its own has a name.
func (s *site) names(url string) {
	s.Helper()
	var tree struct {
		Nodes []struct {
			Ignored bool   `json:"ignored"`
			Role    axText `json:"role"`
			Name    axText `json:"name"`
		} `json:"nodes"`
	}
	s.run(chromedp.ActionFunc(func(ctx context.Context) error {
		return cdp.Execute(ctx, "Accessibility.getFullAXTree", nil, &tree)
	}))
	count := map[string]int{}
	for _, n := range tree.Nodes {
		role := n.Role.Value
		if n.Ignored {
			continue
		}
		count[role]++
		if slices.Contains(named, role) && strings.TrimSpace(n.Name.Value) == "" {
			s.Errorf("%s: a %s has no name", url, role)
		}
	}
	if count["main"] != 1 || count["banner"] != 1 || count["link"] == 0 {
		s.Errorf("%s has these roles: %v", url, count)
	}
}

// axText is a text in the accessibility tree.
type axText struct {
	Value string `json:"value"`
}

// TestPolicyIsHeard: what the pages must not do is prevented, and TestPages would hear of it.
func TestPolicyIsHeard(t *testing.T) {
	s := newSite(t)
	for name, script := range map[string]string{
		"an inline script": `const e = document.createElement("script"); e.textContent = "window.ran = true"; document.body.append(e)`,
		"a handler":        `document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = true'>")`,
		"a style":          `document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>x</p>")`,
		"another host":     `fetch("http://127.0.0.1:1/").catch(() => {})`,
	} {
		s.run(chromedp.Navigate(s.base+"/"), chromedp.WaitReady("main"))
		s.Heard()
		ran := true
		s.run(chromedp.Evaluate(script+"; null", nil), chromedp.Poll(`window.ran === undefined`, nil), chromedp.Evaluate(`window.ran === true`, &ran))
		faults, _ := s.Heard()
		if ran || !strings.Contains(strings.Join(faults, "\n"), "Content Security Policy") {
			t.Errorf("%s: it ran: %t; heard: %q", name, ran, faults)
		}
	}
}

// focused is what has the focus: its text and where it is.
const focused = `(() => { const e = document.activeElement, r = e.getBoundingClientRect();
	return e === document.body ? "" : (r.right > 0 && getComputedStyle(e).outlineStyle !== "none" ? "" : "unseen ") + (e.textContent.trim().slice(0, 40) || e.tagName) })()`

// TestKeyboard: each link and each part that scrolls is reached by the tabulator, and is seen
// to be; the first one skips to the content.
func TestKeyboard(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/workspace?name=job", "/tree?name=job", "/file?name=job&path=text.txt", "/mounts"} {
		want, got := 0, 0
		s.run(chromedp.Navigate(s.base+path), chromedp.WaitReady("main"),
			chromedp.Evaluate(`document.querySelectorAll("a[href], button:not([hidden]), [tabindex='0']").length`, &want))
		for {
			var at string
			s.run(chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(focused, &at))
			if at == "" || got > want {
				break
			}
			if got++; strings.HasPrefix(at, "unseen") || got == 1 && at != "Skip to content" {
				t.Errorf("%s: stop %d is %s", path, got, at)
			}
		}
		if got < want {
			t.Errorf("%s: the tabulator stops %d times, for %d", path, got, want)
		}
	}
	var at string
	s.run(chromedp.Navigate(s.base+"/tree?name=job"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter),
		chromedp.Poll(`location.hash === "#main"`, nil), chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`document.activeElement.closest("main") ? "in main" : "before it"`, &at))
	if at != "in main" {
		t.Errorf("behind the link that skips the focus is %s", at)
	}
	s.run(chromedp.Focus(`a[href*="text.txt"]`), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#L2"))
}

// TestLive: the page of a mount follows what is done in it, until it is paused.
func TestLive(t *testing.T) {
	s := newSite(t)
	s.run(chromedp.Navigate(s.base+"/mounts"), chromedp.Click(`a[href^="/mount?"]`), chromedp.WaitVisible("#pause"),
		chromedp.Evaluate("window.sameDocument = true", nil))
	s.write(s.live, map[string]string{"while-you-look": "12345", hostile: "changed"})
	s.run(waitFor("while-you-look"), waitFor("modified"))
	s.must(os.Rename(s.live.Path("text.txt"), s.live.Path("other-name")))
	s.run(waitFor("text.txt → other-name"))
	s.run(chromedp.Focus("#pause"), chromedp.KeyEvent(kb.Enter), chromedp.Poll(`document.getElementById("pause").textContent === "Go on"`, nil))
	s.must(os.Remove(s.live.Path("while-you-look")))
	asked := 0
	s.run(chromedp.Evaluate(`performance.clearResourceTimings(); refresh().then(() => performance.getEntriesByType("resource").length)`, &asked,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	if asked != 0 {
		t.Errorf("while it is paused the page asks %d times", asked)
	}
	same := false
	s.run(chromedp.KeyEvent(kb.Enter), waitForNo("while-you-look"), chromedp.Evaluate("window.sameDocument === true", &same))
	if !same {
		t.Error("the page was loaded again")
	}
	if faults, _ := s.Heard(); len(faults) > 0 {
		t.Errorf("heard %q", faults)
	}
}

func waitFor(text string) chromedp.Action {
	return chromedp.Poll(`document.getElementById("fresh").textContent.includes("`+text+`")`, nil)
}

func waitForNo(text string) chromedp.Action {
	return chromedp.Poll(`!document.getElementById("fresh").textContent.includes("`+text+`")`, nil)
}

// TestAnotherUser: who has no token sees nothing, and learns where it is.
func TestAnotherUser(t *testing.T) {
	s := newSite(t)
	var body string
	s.run(chromedp.ActionFunc(func(ctx context.Context) error { return network.ClearBrowserCookies().Do(ctx) }),
		chromedp.Navigate(s.base+"/workspace?name=job"), chromedp.Text("main", &body))
	if !strings.Contains(body, "the token in it") || strings.Contains(body, "commits") {
		t.Errorf("without the cookie the page says %q", body)
	}
}
