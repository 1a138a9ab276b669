import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.SafeModeAction;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * A NameNode (or two: high availability) and two DataNodes in one process.
 *
 * <p>Arguments: folder, "format" or "keep", RPC and HTTP port of each NameNode separated by commas
 * (9000,9870 or 9000,9870,9001,9871), then name=value pairs of configuration. Commands come as lines on standard
 * input, and each is answered by one line on standard output; the end of the input ends the process.
 */
public class Mini {
    private static MiniDFSCluster cluster;
    private static final List<MiniDFSCluster.DataNodeProperties> stopped = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        configuration.set("hdfs.minidfs.basedir", new File(arguments[0]).getAbsolutePath());
        configuration.setBoolean("dfs.namenode.acls.enabled", true);
        configuration.setInt("dfs.replication", 2);
        configuration.setLong("dfs.namenode.fs-limits.min-block-size", 1024);
        configuration.setLong("dfs.blocksize", 1 << 20);
        for (int index = 3; index < arguments.length; index++) {
            int end = arguments[index].indexOf('=');
            configuration.set(arguments[index].substring(0, end), arguments[index].substring(end + 1));
        }
        String principal = configuration.get("dfs.namenode.kerberos.principal");
        if (principal != null) {
            UserGroupInformation.setConfiguration(configuration);
            UserGroupInformation.loginUserFromKeytab(principal, configuration.get("dfs.namenode.keytab.file"));
        }
        String[] ports = arguments[2].split(",");
        MiniDFSCluster.Builder builder = new MiniDFSCluster.Builder(configuration).numDataNodes(2);
        builder.format(arguments[1].equals("format"));
        // Secure DataNodes want their ports and principals as configured.
        builder.checkDataNodeAddrConfig(principal != null);
        boolean available = ports.length == 4;
        if (available) {
            MiniDFSNNTopology.NSConf service = new MiniDFSNNTopology.NSConf("minidfs");
            service.addNN(nameNode("nn1", ports[0], ports[1])).addNN(nameNode("nn2", ports[2], ports[3]));
            builder.nnTopology(new MiniDFSNNTopology().addNameservice(service));
        } else {
            builder.nameNodePort(Integer.parseInt(ports[0])).nameNodeHttpPort(Integer.parseInt(ports[1]));
        }
        cluster = builder.build();
        if (available) {
            cluster.transitionToActive(0);
        }
        cluster.waitActive(0);
        cluster.triggerBlockReports();
        while (fileSystem().setSafeMode(SafeModeAction.GET)) {
            Thread.sleep(20);
        }
        fileSystem().setPermission(new Path("/"), new FsPermission((short) 0777));
        System.out.println("READY");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println("OK " + obey(line.split(" ")));
            } catch (Exception error) {
                System.out.println("ERROR " + error.toString().replace('\n', ' '));
            }
        }
        Runtime.getRuntime().halt(0);
    }

    private static MiniDFSNNTopology.NNConf nameNode(String name, String rpc, String http) {
        return new MiniDFSNNTopology.NNConf(name)
            .setIpcPort(Integer.parseInt(rpc)).setHttpPort(Integer.parseInt(http));
    }

    private static DistributedFileSystem fileSystem() throws Exception {
        return (DistributedFileSystem) cluster.getFileSystem(0);
    }

    private static String obey(String[] words) throws Exception {
        switch (words[0]) {
            case "stop-datanodes":
                while (!cluster.getDataNodes().isEmpty()) {
                    stopped.add(cluster.stopDataNode(0));
                }
                return "";
            case "start-datanodes":
                for (MiniDFSCluster.DataNodeProperties node : stopped) {
                    cluster.restartDataNode(node, true);
                }
                stopped.clear();
                cluster.waitActive();
                return "";
            case "safemode":
                SafeModeAction action = words[1].equals("on") ? SafeModeAction.ENTER : SafeModeAction.LEAVE;
                return "" + fileSystem().setSafeMode(action);
            case "quota":
                fileSystem().setQuota(new Path(words[1]), Long.parseLong(words[2]), Long.parseLong(words[3]));
                return "";
            case "active":
                cluster.transitionToStandby(1 - Integer.parseInt(words[1]));
                cluster.transitionToActive(Integer.parseInt(words[1]));
                return "";
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }
}
