// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Who may come in: the requirements that a user is measured by, for the local network and the tests.
/// @notice Anyone adds and removes them here; a real one has owners.
contract AccessProtocol {
    struct Requirement {
        string chainId; // decimal, or a name that the operators' settings know
        address contractAddress;
        string method; // a signature such as balanceOf(address), or scoreOf(address,uint256)(int256)
        string[] params; // one for each argument; <UA> stands for the user's address
        string[] requirement; // a comparison (LT, LTE, EQ, GTE, GT) and an integer
    }

    Requirement[] internal methods;

    function addMethod(Requirement calldata method) external {
        methods.push(method);
    }

    /// @notice Takes one out; the last one takes its place.
    function removeMethod(uint256 place) external {
        methods[place] = methods[methods.length - 1];
        methods.pop();
    }

    function getWhitelistMethods() external view returns (Requirement[] memory) {
        return methods;
    }
}

/// @title Numbers by address that anyone may set: what a requirement reads.
contract Scores {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(uint256 => int256)) public scoreOf;

    function setBalance(address account, uint256 balance) external {
        balanceOf[account] = balance;
    }

    function setScore(address account, uint256 season, int256 score) external {
        scoreOf[account][season] = score;
    }
}
