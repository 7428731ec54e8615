// Package deptest holds the table of allowed imports. The table is the architecture; its test
// reads every Go file of the module and fails on an import that points up, or on a foreign
// world that enters through a second package.
package deptest

// module is the path of this module.
const module = "github.com/workdir/workdir"

// rule says what a package may import: of ours, and of the foreign worlds that enter through
// one package only.
type rule struct {
	ours    []string // relative to the module
	foreign []string // prefixes of import paths
	tests   []string // of ours, only for its test files

	names map[string][]string // the only names that it may use of some of ours; tests may use more
}

// example is the rule of a program that shows how packages are used.
var example = rule{
	ours:    []string{"activity", "activity/errtype", "activity/ready", "mount", "store", "store/drivers/...", "examples/internal/play"},
	foreign: []string{"go.temporal.io/"},
	tests:   []string{"activity/wdtest", "workspace"},
}

// table is the architecture, from the top down. Packages of the standard library
// and golang.org/x/sys are free for all. Test files may import more, see
// testsMay.
var table = map[string]rule{
	"cmd/workdir-mount": {
		ours:    []string{"activity/inuse", "archive", "doctor", "fs", "mount", "store", "store/drivers/...", "ui", "workspace", "internal/..."},
		foreign: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/cheggaaa/pb/v3"},
	},
	"activity": {
		ours:    []string{"activity/errtype", "activity/internal/...", "archive", "doctor", "mount", "store"},
		foreign: []string{"go.temporal.io/"},
		tests:   []string{"store/drivers/azure", "store/drivers/s3"},
	},
	"activity/ready": {
		ours:    []string{"activity", "activity/errtype", "activity/internal/...", "activity/inuse", "archive", "mount", "store"},
		foreign: []string{"go.temporal.io/"},
		tests:   []string{"activity/wdtest"},
	},
	"activity/inuse":            {ours: []string{"archive", "store"}, foreign: []string{"go.temporal.io/"}, tests: []string{"mount"}},
	"activity/wdtest":           {ours: []string{"activity", "mount", "store", "workspace"}, foreign: []string{"go.temporal.io/"}},
	"activity/internal/failure": {ours: []string{"activity/errtype", "archive", "mount", "store"}, foreign: []string{"go.temporal.io/"}},
	"activity/internal/template": {
		ours:    []string{"store"},
		foreign: []string{"go.temporal.io/"},
		tests:   []string{"store/drivers/azure", "store/drivers/s3"},
	},
	"activity/errtype": {},
	"mount": {
		ours:  []string{"archive", "doctor", "store", "mount/internal/host", "mount/internal/hostcheck", "mount/internal/overlay", "mount/internal/serve", "mount/internal/wire", "internal/ipc", "internal/panics", "internal/version"},
		tests: []string{"fs", "fs/fsdir", "internal/testenv", "store/storetest"},
		names: map[string][]string{ // the client has no tree, and reads no archive
			"archive":              {"Changes", "CommitID", "Log", "MaxMessage", "MaxResult", "NewCommitID", "Origin"},
			"mount/internal/serve": {"CleanUp", "ClearMount", "ClearMounts", "DetachPatience", "Here", "Main"},
		},
	},
	"mount/internal/hostcheck": {
		ours:  []string{"doctor", "mount/internal/host", "mount/internal/serve"},
		names: map[string][]string{"mount/internal/serve": {"TryHome"}},
	},
	"mount/internal/serve":   {ours: []string{"archive", "fs", "fs/fsdir", "fs/fsmerge", "fs/fsupper", "fs/fusefs", "store", "mount/internal/host", "mount/internal/overlay", "mount/internal/wire", "internal/ipc", "internal/panics", "internal/version"}, tests: []string{"internal/testenv", "store/storetest"}},
	"mount/internal/wire":    {ours: []string{"archive", "store", "mount/internal/host", "internal/ipc"}},
	"mount/internal/host":    {ours: []string{"internal/ipc", "internal/printable"}, tests: []string{"internal/testenv"}},
	"mount/internal/overlay": {},
	"store/drivers/s3": {
		ours:    []string{"doctor", "doctor/s3", "store", "store/drivers/internal/cloud"},
		foreign: []string{"gocloud.dev/", "github.com/aws/"},
	},
	"store/drivers/gs": {
		ours:    []string{"doctor", "doctor/gs", "store", "store/drivers/internal/cloud"},
		foreign: []string{"gocloud.dev/", "cloud.google.com/go/", "google.golang.org/api/", "google.golang.org/grpc/", "github.com/googleapis/gax-go/", "golang.org/x/oauth2"},
	},
	"store/drivers/azure": {
		ours:    []string{"doctor", "doctor/azure", "store", "store/drivers/internal/cloud"},
		foreign: []string{"gocloud.dev/", "github.com/Azure/"},
	},
	"store/drivers/internal/cloud": {ours: []string{"doctor", "store"}, foreign: []string{"gocloud.dev/"}, tests: []string{"store/storetest"}},
	"doctor/s3":                    {ours: []string{"doctor"}, foreign: []string{"github.com/aws/"}},
	"doctor/gs":                    {ours: []string{"doctor"}, foreign: []string{"cloud.google.com/go/storage", "google.golang.org/api/option"}},
	"doctor/azure":                 {ours: []string{"doctor"}, foreign: []string{"github.com/Azure/"}},
	"doctor":                       {ours: []string{"store"}},
	"workspace":                    {ours: []string{"archive", "fs", "fs/fsdir", "store", "internal/printable"}, foreign: []string{"github.com/rogpeppe/go-internal/diff"}},
	"ui":                           {ours: []string{"archive", "mount", "store", "workspace", "internal/printable"}},
	"store/storetest":              {ours: []string{"archive", "store"}, foreign: []string{"github.com/anishathalye/porcupine"}},
	"store":                        {ours: []string{"archive", "internal/eintr"}, tests: []string{"fs", "store/storetest"}},
	"fs/fusefs":                    {ours: []string{"fs"}, foreign: []string{"github.com/hanwen/go-fuse/v2/fuse"}},
	"fs/fsmerge":                   {ours: []string{"fs"}, tests: []string{"archive"}},
	"fs/fsdir":                     {ours: []string{"fs", "internal/eintr"}},
	"fs/fsupper":                   {ours: []string{"fs", "internal/eintr"}, tests: []string{"archive", "fs/fusefs"}},
	"archive":                      {ours: []string{"fs"}, foreign: []string{"github.com/klauspost/pgzip", "github.com/klauspost/compress"}},
	"fs":                           {ours: []string{"internal/eintr"}},
	"bench":                        {ours: []string{"archive", "fs", "mount", "store", "store/drivers/azure", "store/drivers/gs", "store/drivers/s3"}, foreign: []string{"cloud.google.com/go/storage", "github.com/Azure/", "github.com/aws/", "google.golang.org/api/option"}},
	"examples/internal/play":       {ours: []string{"mount"}, foreign: []string{"go.temporal.io/"}},
	"examples/library":             example,
	"examples/hello":               example,
	"examples/pipeline":            example,
	"examples/buildfarm":           example,
	"examples/scratch":             example,
	"examples/nightly":             example,
	"examples/migrate":             example,
	"examples/guide":               example,
	"internal/sim":                 {ours: []string{"archive", "fs", "store"}},
	"internal/eintr":               {},
	"internal/ipc":                 {},
	"internal/panics":              {},
	"internal/version":             {},
	"internal/deptest":             {},
	"internal/printable":           {},
	"internal/testreport":          {},
	"internal/testenv":             {},
	"packaging/image":              {},
}

// testsMay is what every test file may import beyond its package's rule.
var testsMay = []string{
	"pgregory.net/rapid",
	"github.com/rogpeppe/go-internal/testscript",
	"github.com/santhosh-tekuri/jsonschema/v6", // holds --json against docs/cli.schema.json
	"github.com/hanwen/go-fuse/v2/posixtest",
	"google.golang.org/protobuf/types/known/timestamppb", // times that Temporal's servers answer with
	"google.golang.org/grpc",                             // what their clients' methods take
	"github.com/stretchr/testify/require",                // what the SDK's test environment speaks
}
