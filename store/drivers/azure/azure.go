// Package azure is the driver of its scheme.
package azure

import _ "gocloud.dev/blob/azureblob"
