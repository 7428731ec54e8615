// Package wdtest is for unit tests of activities that work in workspaces: the SDK's test
// environment with the plugin, a separate store for each test, workspaces filled from maps of
// files, and their content as maps.
//
//	func TestUpper(t *testing.T) {
//		store := wdtest.NewStore(t)
//		wdtest.Put(t, store+"/job", map[string]string{"notes.txt": "hello"})
//		env := wdtest.NewEnv(t, &wdactivity.PluginOptions{
//			Rules: []wdactivity.Rule{{Activity: Upper, URL: store + "/job"}},
//		})
//		env.RegisterActivity(Upper)
//		_, err := env.ExecuteActivity(Upper, "notes.txt")
//		…
//		wdtest.Get(t, store+"/job")["notes.txt"]
//	}
//
// Workspaces are plain directories: such tests need neither FUSE nor root nor a second
// process, and may run in parallel.
package wdtest
