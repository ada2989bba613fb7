// One OpenSearch node over HTTP on 127.0.0.1, without security. Arguments: directory, port. Runs until it is killed.

import org.codelibs.opensearch.runner.OpenSearchRunner;

public class OpenSearch {
    public static void main(String[] arguments) throws Exception {
        var runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", arguments[1]);
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.put("http.type", "netty4");
            settings.put("transport.type", "netty4");
            // A test's disk may be nearly full; the node's own watermarks must not make its indices read-only.
            settings.put("cluster.routing.allocation.disk.threshold_enabled", "false");
        });
        runner.build(OpenSearchRunner.newConfigs().basePath(arguments[0]).clusterName("hydrant-tests").numOfNode(1)
                .useLogger().moduleTypes("org.opensearch.transport.Netty4ModulePlugin"));
        // Not waited for until it is green: one node has no place for replicas, so it never is once it has indices.
        Thread.currentThread().join();
    }
}
