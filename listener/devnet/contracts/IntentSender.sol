// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Announces intents as events, for the local network, the tests and the benchmarks.
/// @notice Nothing is stored: the event is the intent, so that a thousand of them fit into one block.
contract IntentSender {
    /// @dev No field is indexed: whoever follows it decodes the data. A relayer is never elected here, so its id is 0.
    event IntentSent(uint256 block, uint256 relayerId, uint256 chainId, address _to, bytes _data);

    /// @notice Announces one intent: call `_to` with `_data` on the chain `chainId`.
    function sendIntent(uint256 chainId, address _to, bytes calldata _data) external {
        emit IntentSent(block.number, 0, chainId, _to, _data);
    }

    /// @notice Announces `count` equal intents in one transaction, which only their log index tells apart.
    function sendMany(uint256 count, uint256 chainId, address _to, bytes calldata _data) external {
        for (uint256 sent = 0; sent < count; ++sent) {
            emit IntentSent(block.number, 0, chainId, _to, _data);
        }
    }
}
